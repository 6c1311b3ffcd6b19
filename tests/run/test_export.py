import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from descant.artifacts.models import TinyModel
from descant.core.errors import ConfigError, IntegrityError
from descant.data.prompts import Prompt
from descant.models.encoder import Attention, EncoderSpec, Pooling
from descant.models.retriever import load_retriever, save_retriever
from descant.run.export import TOLERANCES, export, prefixes

from .conftest import make_retriever

TEXTS = ["what do animals eat", "light from the sun takes eight minutes", "光 and heat", "rock " * 400]
INSTRUCTED = Prompt(instruction="find the answer", head="Instruct: {instruction}\n", query="Query: {query}")
Folders = tuple[Path, Path, Path]


@pytest.mark.parametrize(
    ("architecture", "attention", "pooling", "prompt"),
    [
        ("bert", "native", "mean", Prompt(query="query: {query}", passage="passage: {title} {text}")),
        ("bert", "native", "cls", INSTRUCTED),
        ("llama", "native", "last_token", INSTRUCTED),
        ("llama", "bidirectional", "mean", Prompt()),
        ("llama", "native", "eos", Prompt(query="{query}")),
    ],
)
def test_export_for_sentence_transformers_encodes_as_the_retriever_does(
    tmp_path: Path,
    architecture: Literal["bert", "llama"],
    attention: Attention,
    pooling: Pooling,
    prompt: Prompt,
) -> None:
    from sentence_transformers import SentenceTransformer

    model = TinyModel(architecture=architecture)
    spec = EncoderSpec(
        model=model,
        attention=attention,
        pooling=pooling,
        prompt=prompt,
        max_query_tokens=64,
        max_passage_tokens=32,
    )
    folder = make_retriever(tmp_path / "retriever", spec, 1)
    written = export(folder, tmp_path / "out", "sentence-transformers")
    theirs, ours = SentenceTransformer(str(written), device="cpu"), load_retriever(folder)
    np.testing.assert_allclose(theirs.encode_query(TEXTS), ours.encode_queries(TEXTS), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_document(TEXTS), ours.encode_documents(TEXTS), atol=1e-5)
    modules = json.loads((written / "modules.json").read_text())
    assert [module["type"].rsplit(".", 1)[-1] for module in modules] == [
        "Transformer",
        "Pooling",
        "Normalize",
    ]


def test_export_as_peft_loads_onto_the_base(tmp_path: Path, retrievers: Folders) -> None:
    import torch
    from peft import PeftModel

    from descant.models.load import load_model

    written = export(retrievers[0], tmp_path / "out", "peft")
    base, tokenizer = load_model(TinyModel(architecture="bert"))
    batch = tokenizer(TEXTS[:1], return_tensors="pt")
    with torch.inference_mode():
        states = PeftModel.from_pretrained(base, str(written)).eval()(**batch).last_hidden_state
    mean = torch.nn.functional.normalize(states.mean(dim=1), dim=1)
    np.testing.assert_allclose(mean, load_retriever(retrievers[0]).encode_documents(TEXTS[:1]), atol=1e-5)


def test_export_merged_needs_transformers_alone(tmp_path: Path, retrievers: Folders) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    written = export(retrievers[0], tmp_path / "out", "merged")
    model, tokenizer = AutoModel.from_pretrained(written), AutoTokenizer.from_pretrained(written)
    with torch.inference_mode():
        states = model.eval()(**tokenizer(TEXTS[:1], return_tensors="pt")).last_hidden_state
    mean = torch.nn.functional.normalize(states.mean(dim=1), dim=1)
    np.testing.assert_allclose(mean, load_retriever(retrievers[0]).encode_documents(TEXTS[:1]), atol=1e-5)
    assert not [path.name for path in written.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]


def test_export_over_something_is_refused_and_leaves_it(tmp_path: Path, retrievers: Folders) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        export(retrievers[0], tmp_path / "out", "peft")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["note.txt"]


def test_export_into_an_empty_folder_is_allowed(tmp_path: Path, retrievers: Folders) -> None:
    (tmp_path / "out").mkdir()
    assert (export(retrievers[0], tmp_path / "out", "peft") / "adapter_config.json").is_file()


def test_export_that_does_not_give_the_same_vectors_is_refused_and_leaves_nothing(
    tmp_path: Path, retrievers: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "fp32", -1.0)
    with pytest.raises(IntegrityError, match="differ") as caught:
        export(retrievers[0], tmp_path / "out", "merged")
    assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_export_in_an_unknown_form_is_refused(tmp_path: Path, retrievers: Folders) -> None:
    with pytest.raises(ConfigError, match="sentence-transformers"):
        export(retrievers[0], tmp_path / "out", "onnx")


def test_export_as_peft_of_a_plain_encoder_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    save_retriever(tmp_path / "r", EncoderSpec(model=TinyModel(), pooling="mean"))
    with pytest.raises(ConfigError, match="no adapter"):
        export(tmp_path / "r", tmp_path / "out", "peft")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("prompt", "pooling"),
    [
        (Prompt(query="{query} ->"), "cls"),
        (Prompt(passage="{title} {text} ."), "cls"),
        (INSTRUCTED, "mean"),
    ],
)
def test_prefixes_that_cannot_say_it_all_are_refused(prompt: Prompt, pooling: Literal["cls", "mean"]) -> None:
    with pytest.raises(ConfigError, match="sentence-transformers"):
        prefixes(EncoderSpec(model=TinyModel(), pooling=pooling, prompt=prompt))


def test_prefixes_are_what_stands_before_query_and_passage() -> None:
    spec = EncoderSpec(model=TinyModel(), pooling="cls", prompt=INSTRUCTED)
    assert prefixes(spec) == ("Instruct: find the answer\nQuery: ", "")
