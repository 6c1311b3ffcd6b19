"""What the documentation shows works: links, commands, addresses and code are followed, parsed and run."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer

from descant.adapters import Lora
from descant.artifacts.commit import publish
from descant.artifacts.models import FolderModel
from descant.artifacts.store import Store
from descant.cli import app
from descant.models.encoder import EncoderSpec
from descant.models.load import load_model
from descant.models.retriever import save_retriever
from descant.models.tiny import tiny_model, tiny_tokenizer
from descant.run.export import export

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in (".", "docs", "jobs", "clusters")
    for path in (ROOT.glob("*.md") if folder == "." else (ROOT / folder).rglob("*.md"))
)
GOLDEN = json.loads((ROOT / "tests" / "golden" / "fingerprints.json").read_text())

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.M)
_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_ADDRESS = re.compile(r"\b([a-z_]+/[0-9a-f]{12})\b")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    line: int
    text: str


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in _FENCE.finditer(text):
        yield Block(match.group(1).strip(), text[: match.start()].count("\n") + 1, match.group(2))


def commands(page: Path) -> Iterator[str]:
    """Every line of a shell block that calls descant, and every call in inline code."""
    prose = _FENCE.sub("", page.read_text("utf-8"))
    shell = [b.text for b in blocks(page) if b.language in ("bash", "sh", "console", "shell")]
    lines = [line.removeprefix("$ ") for text in shell for line in text.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", prose)]:
        call = re.sub(r"^([A-Z_]+=\S+ +)+", "", line.strip())
        if call.startswith("descant "):
            yield call


def anchors(page: Path) -> set[str]:
    """Headings as GitHub links to them."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in _HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(path), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_descant_commands_exist_with_their_options_and_recipes(page: Path) -> None:
    for call in commands(page):
        command: Any = typer.main.get_command(app)
        words = shlex.split(call, comments=True)[1:]
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            assert words[0] in command.commands, f"{call}: no such command"
            command, words = command.commands[words[0]], words[1:]
        options = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            if word.startswith("-"):
                assert word.split("=")[0] in options | {"--help"}, f"{call}: {command.name} has no {word}"
            if word.startswith(("jobs/", "clusters/")):
                assert (ROOT / word).exists(), f"{call}: there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.language.startswith("python"):
            compile("\n" * block.line + block.text, name_of(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_are_named_exist(page: Path) -> None:
    for path, name in _TEST.findall(page.read_text("utf-8")):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path} has no {name}"


def test_addresses_shown_are_those_of_the_smoke_recipe() -> None:
    golden = set(GOLDEN["jobs/recipes/finetune_retriever/smoke.yaml"].values())
    shown = set(_ADDRESS.findall((ROOT / "docs" / "concepts.md").read_text("utf-8")))
    shown = {address for address in shown if not address.startswith("register/")}
    assert shown <= golden, "show the plan of the smoke recipe anew in docs/concepts.md"


def run_page(page: Path) -> ModuleType:
    """A module of the page's blocks marked ``python run``, in order; lines are those of the page."""
    module = ModuleType(f"docs_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module  # where pydantic looks up annotations
    for block in blocks(page):
        if block.language == "python run":
            code = compile("\n" * block.line + block.text, name_of(page), "exec")
            exec(code, module.__dict__)
    return module


# The suites and tests shown in docs/adding are collected here and run as tests of this module.
for adding in sorted((ROOT / "docs" / "adding").glob("*.md")):
    for shown_name, shown_value in vars(run_page(adding)).items():
        if shown_name.startswith(("test_", "Test")):
            globals()[shown_name] = shown_value


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder with a base model, a store that holds a training of it, and its exports."""
    model, tokenizer = tiny_model("bert", 0, vocab_size=len(tiny_tokenizer("bert"))), tiny_tokenizer("bert")
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    spec = EncoderSpec(model=FolderModel(path=str(tmp_path / "base")), pooling="mean", max_query_tokens=256)
    adapted: Any = Lora(r=2, lora_alpha=4).attach(load_model(spec.model)[0], seed=0)
    adapted.save_pretrained(tmp_path / "adapter")
    store = Store(tmp_path / ".descant")
    with store.draft("train", 1, "d3e0b626dca1", "train with examples", {}, {}) as draft:
        adapter = tmp_path / "adapter"
        publish(draft.folder, "retriever", lambda path: save_retriever(path, spec, adapter=adapter), rows=0)
        retriever = draft.finish(["retriever"], {}).path("retriever")
    for name, form in (("st", "sentence-transformers"), ("peft", "peft")):
        export(retriever, tmp_path / "exports" / name, form)
    return tmp_path


def test_snippets_of_the_retrieval_page_run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    page = run_page(ROOT / "docs" / "retrieval.md")
    assert page.queries.shape == (1, 32)
    assert page.documents.shape == (2, 32)
    assert page.scores.shape == (1, 1)
