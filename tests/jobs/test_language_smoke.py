"""The smoke adaptation as a user runs it: figures before training, a report that says what was measured, resume."""

import re
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from descant.artifacts.store import Store
from descant.models.causal import CausalModel
from descant.models.trained import load_trained
from descant.run.registry import list_versions, load
from tests.jobs.command import descant, finished_run, labelled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = "jobs/recipes/adapt_language/smoke.yaml"
SYSTEMS = ("base", "trained on the same text", "extended and trained")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    return finished_run(RECIPE, tmp_path_factory.mktemp("language") / "store")


def test_run_says_what_the_vocabulary_does_before_it_trains(finished: tuple[Store, str]) -> None:
    store, output = finished
    lines = output.splitlines()
    told = next(i for i, line in enumerate(lines) if "learn new tokens" in line)
    trained = next(i for i, line in enumerate(lines) if "] train" in line)
    assert told < trained
    facts = labelled(store, "learn new tokens").manifest.facts
    assert f"{facts['language']['change']:+.1%} tokens in the language" in " ".join(lines[told : told + 2])
    assert facts["language"]["change"] < -0.25


def test_report_has_every_system_and_initialiser_with_its_figures(finished: tuple[Store, str]) -> None:
    store, output = finished
    found = re.search(r"report\s+(\S+report\.html)", output)
    assert found is not None
    page = Path(found.group(1)).read_text()
    markdown = Path(found.group(1)).with_name("report.md").read_text()
    assert "<script" not in page
    for system in SYSTEMS:
        assert system in page
        for which in ("language", "base language"):
            value = labelled(store, f"score {which}, {system}").manifest.facts["bits_per_byte"]
            assert f"| {value:.3f} \\[" in markdown
    for name in ("mean", "random"):
        before, after = (
            labelled(store, f"score language, {name}, {when}").manifest.facts["bits_per_byte"]
            for when in ("before", "after")
        )
        assert after < before
        assert f"| {name} | {before:.3f} | {after:.3f} |" in markdown


def test_both_systems_read_the_same_bytes_and_the_extended_fewer_tokens(finished: tuple[Store, str]) -> None:
    store, _ = finished
    plain, extended = (
        labelled(store, f"pack {tokens}: 20,000 bytes, 0.1 replayed").manifest.facts["train"]
        for tokens in ("the base's tokens", "new tokens")
    )
    assert {name: one["bytes"] for name, one in plain.items()} == {
        name: one["bytes"] for name, one in extended.items()
    }
    assert extended["language"]["tokens"] < 0.75 * plain["language"]["tokens"]


def test_adapted_model_is_exported_for_transformers_alone(
    finished: tuple[Store, str], tmp_path: Path
) -> None:
    store, _ = finished
    trained = labelled(store, "train, extended and trained")
    done = descant(
        store.root, "export", trained.manifest.fingerprint, str(tmp_path / "out"), "--form", "merged"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = load_trained(trained.path("model"))
    assert isinstance(ours, CausalModel)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == len(ours.tokenizer)


def test_better_model_is_registered_and_loads_from_the_registry(finished: tuple[Store, str]) -> None:
    store, output = finished
    assert "models:/turkish-tiny/1" in output
    (version,) = list_versions(store)
    assert version.aliases == ("champion",)
    trained = labelled(store, "train, extended and trained").path("model")
    ours, theirs = load_trained(trained), load("models:/turkish-tiny@champion", store)
    text = "Topluluğunuza destek verin"
    assert isinstance(ours, CausalModel)
    ids = ours.encode_text(text)
    assert theirs.encode_text(text) == ids
    with torch.no_grad():
        logits = [model.model(torch.tensor([ids])).logits for model in (ours, theirs)]
    assert torch.equal(*logits)


def test_second_run_computes_nothing(finished: tuple[Store, str]) -> None:
    store, _ = finished
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/manifest.json")}
    started = time.monotonic()
    again = descant(store.root, "run", RECIPE, "--compute", "clusters/local")
    assert again.returncode == 0, again.stdout + again.stderr
    assert time.monotonic() - started < 90
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/manifest.json")} == before
