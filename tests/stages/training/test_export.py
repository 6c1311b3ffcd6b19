from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from descant.adapters import Full, Lora, Method
from descant.core.errors import IntegrityError, NumericsError
from descant.data.prompts import PromptedText
from descant.models.encode import Encoder, load_encoder
from descant.models.folders import ADAPTER
from descant.stages.training.export import save_adapter, tensor_digests
from descant.stages.training.loop import train
from tests.stages.training.toy import started, toy_training


def attached(
    tmp_path: Path, method: Method
) -> tuple[torch.nn.Module, dict[str, torch.Tensor], dict[str, str]]:
    """A model, its trainable tensors one step away from the start, and the digests of the start."""
    model = started(toy_training(tmp_path, method=method)).objective.encoder.model
    state = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    return model, {name: tensor + 0.01 for name, tensor in state.items()}, tensor_digests(state)


def encoded(encoder: Encoder, texts: Sequence[PromptedText]) -> np.ndarray:
    return encoder.encode(encoder.token_rows(texts, max_tokens=64))


@pytest.mark.parametrize("method", [Lora(r=2), Full()], ids=["lora", "full"])
def test_saved_adapter_holds_exactly_the_trained_tensors(method: Method, tmp_path: Path) -> None:
    model, state, start = attached(tmp_path, method)
    save_adapter(method, model, state, tmp_path / "out", start)
    found = [load_file(path) for path in (tmp_path / "out").glob("*.safetensors")]
    assert sorted(tensor_digests(found[0]).values()) == sorted(tensor_digests(state).values())


def test_adapter_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    model, state, start = attached(tmp_path, Lora(r=2))
    name = sorted(state)[3]
    state[name][0, 0] = float("inf")
    with pytest.raises(NumericsError, match=name.replace(".", r"\.")):
        save_adapter(Lora(r=2), model, state, tmp_path / "out", start)
    assert not (tmp_path / "out").exists()


def test_adapter_that_learnt_nothing_is_refused(tmp_path: Path) -> None:
    model, state, _ = attached(tmp_path, Lora(r=2))
    with pytest.raises(NumericsError, match="are what they were before training"):
        save_adapter(Lora(r=2), model, state, tmp_path / "out", tensor_digests(state))


class Forgetful(Lora):
    """Saves one tensor too few, as a renamed module would make PEFT do."""

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        super().save(model, folder, dict(list(state.items())[1:]))


def test_adapter_saved_without_a_tensor_is_refused(tmp_path: Path) -> None:
    model, state, start = attached(tmp_path, Lora(r=2))
    with pytest.raises(IntegrityError, match="was not read back as it was trained"):
        save_adapter(Forgetful(r=2), model, state, tmp_path / "out", start)
    assert not (tmp_path / "out").exists()


def test_trained_adapter_loaded_for_evaluation_gives_the_vectors_of_the_trained_model(tmp_path: Path) -> None:
    training = toy_training(tmp_path)
    train(training, report=lambda figures: None)
    again = started(training)
    again.resume()
    texts = [row.prompt for row in again.objective.rows]
    trained, base = (
        encoded(load_encoder(training.encoder, adapter=adapter), texts)
        for adapter in (tmp_path / ADAPTER, None)
    )
    expected = encoded(again.objective.encoder, texts)
    assert abs(trained - expected).max() < 1e-6
    assert abs(trained - base).max() > 1e-2
