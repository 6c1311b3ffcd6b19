"""Every method in the training loop: resumed to the last bit, published to equal vectors, the same under ZeRO-3."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from descant.adapters import METHODS, Method, TrainableTokens
from descant.artifacts.models import TinyModel
from descant.core.errors import ConfigError
from descant.models.encode import Encoder, load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.folders import ADAPTER
from descant.models.tiny import tiny_tokenizer
from descant.stages.train import Train
from descant.stages.training.loop import Trainer, train
from descant.stages.training.settings import TrainCompute, TrainSettings, plan_batches
from tests.adapters.tiny import SPECS, kind_of
from tests.stages.training.toy import WORDS, figures, run, started, toy_training

TRAINABLE: list[Method] = [s for s in SPECS if not s.untrainable and not isinstance(s, TrainableTokens)]
TRAINABLE.append(TrainableTokens(token_indices=tiny_tokenizer("bert").convert_tokens_to_ids(list(WORDS))))
QUICK = [
    s
    for s in TRAINABLE
    if kind_of(s) in ("pissa", "eva", "corda", "vera", "vblora", "trainable_tokens", "svft")
]
SLOW = [pytest.param(s, marks=pytest.mark.slow) for s in TRAINABLE if s not in QUICK]


def vectors(trainer: Trainer, encoder: Encoder) -> np.ndarray:
    texts = [row.prompt for row in trainer.objective.rows]
    return encoder.encode(encoder.token_rows(texts, max_tokens=64))


@pytest.mark.parametrize("method", QUICK + SLOW, ids=kind_of)
def test_training_is_resumed_to_the_last_bit_and_its_adapter_gives_its_vectors(
    method: Method, tmp_path: Path
) -> None:
    training = toy_training(tmp_path, method=method, learning_rate=1e-2)
    first = started(training)
    run(first, 2)
    first.save()
    expected = figures(run(first, 2))
    again = started(training)
    again.resume()
    assert again.position == 2
    assert figures(run(again, 2)) == expected
    again.export()
    loaded = load_encoder(training.encoder, adapter=tmp_path / ADAPTER)
    base = load_encoder(training.encoder)
    assert abs(vectors(again, loaded) - vectors(again, again.objective.encoder)).max() < 1e-5
    assert abs(vectors(again, loaded) - vectors(again, base)).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("method", TRAINABLE, ids=kind_of)
def test_sharded_training_gives_the_same_adapter(method: Method, tmp_path: Path) -> None:
    saved = []
    for zero in (0, *method.zero_stages[1:]):
        training = toy_training(
            tmp_path / str(zero),
            method=method,
            compute=TrainCompute(workers=1, zero=zero),
            base_dropout=False,
            adam_epsilon=1e-3,
            max_steps=4,
        )
        torch.manual_seed(0)
        train(training, report=lambda figures: None)
        saved.append(load_file(next((tmp_path / str(zero) / ADAPTER).glob("*.safetensors"))))
    for other in saved[1:]:
        assert other.keys() == saved[0].keys()
        assert all(torch.allclose(other[name], saved[0][name], atol=1e-5) for name in other)


def settings(method: Method) -> TrainSettings:
    return TrainSettings(method=method, learning_rate=1e-3, global_batch=8)


@pytest.mark.parametrize("method", [s for s in SPECS if s.untrainable], ids=kind_of)
def test_method_the_loop_cannot_train_is_refused_with_those_it_can(method: Method) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be trained here: .*\. Nothing .* lora, rslora, dora, "
    ) as caught:
        plan_batches(settings(method), TrainCompute())
    assert f" {kind_of(method)}," not in caught.value.remedy


def trains(fits: Callable[[type[Method]], bool]) -> str:
    return ", ".join(m.model_fields["kind"].default for m in METHODS if not m.untrainable and fits(m))


@pytest.mark.parametrize("method", [s for s in SPECS if not s.keeps_base], ids=kind_of)
def test_split_base_in_bf16_is_refused_when_planned(method: Method) -> None:
    encoder = EncoderSpec(model=TinyModel(), pooling="mean", precision="bf16")
    with pytest.raises(ConfigError, match=r"precision = bf16: .*would be rounded") as caught:
        Train(encoder=encoder, settings=settings(method)).check(TrainCompute())
    assert trains(lambda m: m.keeps_base) in caught.value.remedy
