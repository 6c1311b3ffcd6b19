from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from descant.artifacts.models import FolderModel, TinyModel
from descant.core.errors import ConfigError, IntegrityError
from descant.core.records import Example, Passage, Query
from descant.models.encode import load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.load import load_model
from descant.models.retriever import load_retriever, save_retriever

DOCUMENTS = [Passage("1", "Sun", "the sun is a star"), Passage("2", "", "water in the cells")]
EXAMPLES = [[Example("what is blood", "the body")], [Example("why", "plants")]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = load_model(TinyModel(seed=2))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def spec(base: Path) -> EncoderSpec:
    return EncoderSpec(model=FolderModel(path=str(base)), pooling="mean")


@pytest.fixture
def adapter(tmp_path: Path, spec: EncoderSpec) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["query"], init_lora_weights="gaussian")
    model = get_peft_model(load_encoder(spec).model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.5)
    model.save_pretrained(str(tmp_path / "trained"))
    return tmp_path / "trained"


def test_retriever_reloads_to_the_vectors_of_its_encoder(
    tmp_path: Path, spec: EncoderSpec, adapter: Path
) -> None:
    save_retriever(tmp_path / "retriever", spec, adapter=adapter)
    retriever, encoder = load_retriever(tmp_path / "retriever"), load_encoder(spec, adapter=adapter)
    queries = ["why is the sun", "what is water"]
    np.testing.assert_array_equal(
        retriever.encode_queries(queries, EXAMPLES), encoder.encode_queries(queries, EXAMPLES)
    )
    np.testing.assert_array_equal(retriever.encode_documents(DOCUMENTS), encoder.encode_passages(DOCUMENTS))


def test_retriever_takes_records_and_plain_texts_alike(tmp_path: Path, spec: EncoderSpec) -> None:
    save_retriever(tmp_path, spec)
    retriever = load_retriever(tmp_path)
    np.testing.assert_array_equal(
        retriever.encode_queries([Query("7", "what is water")]), retriever.encode_queries(["what is water"])
    )
    np.testing.assert_array_equal(
        retriever.encode_documents(DOCUMENTS),
        retriever.encode_documents(["Sun the sun is a star", "water in the cells"]),
    )


def test_retriever_on_another_base_is_refused_with_both_digests(tmp_path: Path, spec: EncoderSpec) -> None:
    save_retriever(tmp_path / "retriever", spec)
    before = str(spec.model.identity()["sha256"])
    assert isinstance(spec.model, FolderModel)
    config = Path(spec.model.path) / "config.json"
    original = config.read_text()
    config.write_text(original + " ")
    try:
        with pytest.raises(IntegrityError, match="base model") as caught:
            load_retriever(tmp_path / "retriever")
        assert before in str(caught.value)
        assert str(spec.model.identity()["sha256"]) in str(caught.value)
    finally:
        config.write_text(original)


def test_retriever_with_a_flipped_adapter_byte_is_refused(
    tmp_path: Path, spec: EncoderSpec, adapter: Path
) -> None:
    save_retriever(tmp_path / "retriever", spec, adapter=adapter)
    weights = tmp_path / "retriever" / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match="expected"):
        load_retriever(tmp_path / "retriever")


def test_folder_without_settings_is_no_retriever(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.json"):
        load_retriever(tmp_path)


def test_retriever_with_all_weights_trained_loads_from_its_own_files(tmp_path: Path) -> None:
    spec = EncoderSpec.model_validate({"model": {"kind": "tiny"}, "pooling": "mean"})
    trained = load_encoder(spec)
    with torch.no_grad():
        for parameter in trained.model.parameters():
            parameter.mul_(1.5)
    cast("Any", trained.model).save_pretrained(tmp_path / "whole")
    save_retriever(tmp_path / "retriever", spec, adapter=tmp_path / "whole")
    found = load_retriever(tmp_path / "retriever").encode_documents(["light and heat"])
    expected = trained.encode_passages([Passage("", "", "light and heat")])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(
        found, load_encoder(spec).encode_passages([Passage("", "", "light and heat")]), atol=1e-3
    )
