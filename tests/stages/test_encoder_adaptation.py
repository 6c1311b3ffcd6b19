"""An encoder gets new tokens, is trained on text and on pairs, and is found again as one folder."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from descant.artifacts.models import MadeModel
from descant.artifacts.store import Artifact, Store
from descant.core.errors import ConfigError, DataError, DependencyError, IntegrityError
from descant.models.encoder import EncoderSpec
from descant.models.load import load_model, load_tokenizer
from descant.models.retriever import load_retriever, save_retriever
from descant.run.export import export
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.compute_bases import ComputeBases
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE
from descant.stages.encoder_adaptation import BASE_MODEL, model_of
from descant.stages.extend_encoder import ExtendEncoder
from descant.stages.learn_vocabulary import TOKENIZER, LearnVocabulary
from descant.stages.train_masked import TrainMasked
from tests.pipeline import made
from tests.stages.toy_corpora import corpora
from tests.stages.toy_encoder import shared_encoder

PROFILE = Profile().of_trial()
TRAINING = {
    "method": {"kind": "full"},
    "learning_rate": 1e-3,
    "global_batch": 4,
    "max_steps": 4,
    "validate_every": 4,
}


def extended(folder: Path, num_new: int = 40) -> Step:
    texts = corpora(folder)
    learn = LearnVocabulary.model_validate(
        {
            "model": shared_encoder(),
            "extension": {"kind": "wordpiece", "num_new": num_new, "min_characters": 5},
        }
    )
    stage = ExtendEncoder.model_validate(
        {"model": shared_encoder(), "initialiser": {"kind": "mean"}, "seed": 1}
    )
    inputs = {TOKENIZER: Step("learn", learn, texts), "texts": texts["texts"]}
    return Step("extend", stage, inputs)


def pretrained(
    folder: Path, start: Step | None = None, settings: dict[str, Any] = TRAINING, **text: Any
) -> Step:
    texts = corpora(folder)
    inputs = {LANGUAGE: texts["texts"], BASE_LANGUAGE: texts["base_texts"]}
    model: Any = shared_encoder()
    if start is not None:
        inputs[BASE_MODEL], model = start, model_of(start)
    stage = TrainMasked.model_validate(
        {
            "model": {"model": model, "masking": {"max_tokens": 32}},
            "text": {"max_bytes": 3000, "replay": 0.2, "validation_bytes": 500, **text},
            "settings": settings,
            "seed": 1,
        }
    )
    return Step("fill in", stage, inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoder")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(folder / "store")


@pytest.fixture(autouse=True)
def _in_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_STORE", str(folder / "store"))


@pytest.fixture(scope="module")
def results(folder: Path, store: Store) -> dict[str, Artifact]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DESCANT_STORE", str(folder / "store"))
        return made(pretrained(folder, extended(folder)), store, PROFILE)


def test_extended_encoder_keeps_old_rows_and_loads_as_any_model(results: dict[str, Artifact]) -> None:
    path = results["extend"].path("model")
    model, tokenizer = AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    base = load_model(shared_encoder())[0]
    old = base.get_input_embeddings().weight
    new = model.get_input_embeddings().weight
    assert len(new) == len(tokenizer) == len(old) + results["extend"].manifest.facts["new_tokens"]
    assert torch.equal(new[: len(old)], old)
    assert model.config.vocab_size == len(tokenizer)


def test_trained_encoder_is_a_plain_folder_that_has_learned(results: dict[str, Artifact]) -> None:
    before, after = (
        AutoModel.from_pretrained(results[label].path("model"), add_pooling_layer=False)
        for label in ("extend", "fill in")
    )
    assert list(before.config.architectures) == list(after.config.architectures) == ["BertModel"]
    still = {
        name
        for (name, one), other in zip(before.named_parameters(), after.parameters(), strict=True)
        if torch.equal(one, other)
    }
    assert all(name.endswith("key.bias") for name in still), "of a key's bias softmax sees nothing"
    facts = results["fill in"].manifest.facts
    assert facts["texts"][LANGUAGE] > 2 * facts["texts"][BASE_LANGUAGE] > 0
    assert facts["steps"] == 4
    tokenizer = load_tokenizer(MadeModel(address=results["fill in"].address))
    assert len(tokenizer) == len(load_tokenizer(MadeModel(address=results["extend"].address)))


def test_budget_beyond_the_corpus_is_refused(folder: Path, store: Store) -> None:
    with pytest.raises(DataError, match=r"language, train: holds [\d,]+ bytes, 800,000 are asked for"):
        made(pretrained(folder, max_bytes=1_000_000), store, PROFILE)


def test_method_that_trains_no_head_is_refused_before_anything_starts(folder: Path) -> None:
    lora = TRAINING | {"method": {"kind": "lora", "r": 4, "lora_alpha": 8}}
    step = pretrained(folder, settings=lora)
    with pytest.raises(ConfigError, match="has to train with all of the encoder"):
        step.stage.check(PROFILE.for_stage(step.stage))


def test_model_that_no_step_has_made_is_refused_when_it_is_read() -> None:
    model = MadeModel(address="train_masked/0123456789ab")
    model.check()
    with pytest.raises(DependencyError, match="has not been made"):
        model.locate()


def retriever(results: dict[str, Artifact], folder: Path) -> EncoderSpec:
    spec = EncoderSpec(
        model=MadeModel(address=results["fill in"].address), pooling="mean", max_query_tokens=64
    )
    save_retriever(folder, spec)
    return spec


def test_retriever_on_a_made_base_needs_no_store(
    results: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from descant.models.encode import load_encoder

    spec = retriever(results, tmp_path / "retriever")
    expected = load_encoder(spec).encode_queries(["light and heat"])
    monkeypatch.setenv("DESCANT_STORE", str(tmp_path / "nowhere"))
    shutil.move(tmp_path / "retriever", tmp_path / "elsewhere")
    found = load_retriever(tmp_path / "elsewhere").encode_queries(["light and heat"])
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ConfigError, match="a base that nobody else has"):
        export(tmp_path / "elsewhere", tmp_path / "peft", "peft")
    export(tmp_path / "elsewhere", tmp_path / "merged", "merged")
    assert AutoModel.from_pretrained(tmp_path / "merged").config.vocab_size > 0


def test_retriever_with_another_base_than_it_was_saved_with_is_refused(
    results: dict[str, Artifact], tmp_path: Path
) -> None:
    retriever(results, tmp_path / "retriever")
    weights = tmp_path / "retriever" / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(IntegrityError, match="base model"):
        load_retriever(tmp_path / "retriever")


def test_bases_of_a_made_model_are_those_of_its_weights(results: dict[str, Artifact], store: Store) -> None:
    from descant.adapters.svft.basis import weight_digest

    model = MadeModel(address=results["fill in"].address)
    step = Step("bases", ComputeBases(model=model, target_modules=("query",)))
    artifact = made(step, store, PROFILE)["bases"]
    loaded: Any = load_model(model)[0]
    weights = {
        weight_digest(module.weight.detach())
        for name, module in loaded.named_modules()
        if name.endswith("query")
    }
    assert {part.facts["weight_sha256"] for part in artifact.manifest.parts} == weights
