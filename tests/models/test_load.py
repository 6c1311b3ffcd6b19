from pathlib import Path

import pytest
import torch
from transformers import AutoModel, DistilBertConfig

from descant.artifacts.models import FolderModel, TinyModel
from descant.core.errors import ConfigError, IntegrityError
from descant.models.attention import looks_ahead
from descant.models.encoder import Attention
from descant.models.load import load_model, load_tokenizer
from descant.models.tiny import Architecture


def save_tiny(folder: Path, architecture: Architecture = "bert") -> FolderModel:
    model, tokenizer = load_model(TinyModel(architecture=architecture))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return FolderModel(path=str(folder))


@pytest.mark.parametrize("architecture", ["bert", "llama"])
@pytest.mark.parametrize(("attention", "expected"), [("bidirectional", True), ("causal", False)])
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "built"])
def test_loaded_model_attends_as_declared(
    tmp_path: Path, architecture: Architecture, attention: Attention, expected: bool, stored: bool
) -> None:
    reference = save_tiny(tmp_path, architecture) if stored else TinyModel(architecture=architecture)
    model, _ = load_model(reference, attention=attention)
    tokens = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    for mask in (None, torch.ones_like(tokens), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])):
        with torch.no_grad():
            states = model(input_ids=tokens, attention_mask=mask).last_hidden_state
            again = model(input_ids=tokens[:1, :3], attention_mask=mask[:1, :3] if mask is not None else None)
        changed = not torch.allclose(states[0, :3], again.last_hidden_state[0], atol=1e-5)
        assert changed == expected
    assert looks_ahead(model) == {expected}


def test_native_attention_is_the_architecture_s_own() -> None:
    assert looks_ahead(load_model(TinyModel(architecture="bert"))[0]) == {True}
    assert looks_ahead(load_model(TinyModel(architecture="llama"))[0]) == {False}


def test_stored_model_reloads_to_equal_weights_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reference = save_tiny(tmp_path)
    capfd.readouterr()
    model, tokenizer = load_model(reference)
    assert capfd.readouterr() == ("", "")
    original, _ = load_model(TinyModel())
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), original.state_dict().values(), strict=True)
    )
    assert tokenizer("water")["input_ids"] == load_tokenizer(TinyModel())("water")["input_ids"]


def test_bf16_model_holds_bf16_weights(tmp_path: Path) -> None:
    for reference in (TinyModel(), save_tiny(tmp_path)):
        model, _ = load_model(reference, precision="bf16")
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_model_without_its_own_tokenizer_is_refused(tmp_path: Path) -> None:
    reference = save_tiny(tmp_path, "bert")
    load_tokenizer(TinyModel(architecture="llama")).save_pretrained(tmp_path)
    with pytest.raises(IntegrityError, match="not a pair"):
        load_model(reference)


def test_every_trainable_weight_takes_part_in_the_states() -> None:
    model, _ = load_model(TinyModel())
    model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_architecture_without_the_declared_attention_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    config = DistilBertConfig(vocab_size=300, dim=32, n_layers=1, n_heads=2, hidden_dim=64)
    model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no causal attention"):
        load_model(FolderModel(path=str(tmp_path)), attention="causal")
