import subprocess
import sys
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from descant.adapters import Lora
from descant.core.errors import ConfigError
from descant.stages.training.schedule import build_optimizer, build_schedule, rate_at
from descant.stages.training.settings import BatchPlan, TrainCompute, TrainSettings, plan_batches


def settings(**values: Any) -> TrainSettings:
    return TrainSettings(**({"method": Lora(), "learning_rate": 1e-3, "global_batch": 64} | values))


@pytest.mark.parametrize(
    ("what", "workers", "plan"),
    [
        ({}, 2, BatchPlan(workers=2, micro_batch=32, accumulation=1)),
        ({"contrast_batch": 16}, 2, BatchPlan(workers=2, micro_batch=8, accumulation=4)),
        ({"contrast_batch": 16}, 16, BatchPlan(workers=16, micro_batch=1, accumulation=4)),
    ],
)
def test_plan_of_batches_is_derived(what: dict[str, Any], workers: int, plan: BatchPlan) -> None:
    assert plan_batches(settings(**what), TrainCompute(workers=workers)) == plan


@pytest.mark.parametrize(
    ("what", "how", "message"),
    [
        ({"contrast_batch": 16}, {"workers": 3}, "16 rows cannot be split evenly.*1, 2, 4, 8, 16 workers"),
        (
            {},
            {"max_micro_batch": 16},
            "64 rows over 2 workers are 32 each; gradient caching is not there yet",
        ),
    ],
)
def test_plan_that_does_not_fit_is_refused_with_numbers(
    what: dict[str, Any], how: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_batches(settings(**what), TrainCompute(**how))


class OnlyReplicated(Lora):
    zero_stages: ClassVar[tuple[int, ...]] = (0, 1)


def test_plan_with_a_zero_stage_the_method_excludes_is_refused_with_those_it_has() -> None:
    chosen = settings().model_copy(update={"method": OnlyReplicated()})
    with pytest.raises(ConfigError, match="zero = 3: OnlyReplicated works under ZeRO 0, 1"):
        plan_batches(chosen, TrainCompute(zero=3))


@pytest.mark.parametrize(
    "values",
    [
        {"contrast_batch": 24},
        {"global_batch": 1, "num_negatives": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"lr_scheduler_type": "polynomial"},
        {"share_with_examples": 1.5},
        {"learing_rate": 1e-3},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**values)


@pytest.mark.parametrize(
    ("shape", "rates"),
    [
        ("linear", [0, 0.5, 1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [0, 0.5, 1, 0.853553, 0.5, 0.146447, 0]),
        ("constant", [0, 0.5, 1, 1, 1, 1, 1]),
    ],
)
def test_learning_rate_rises_over_the_warmup_and_takes_its_shape(shape: str, rates: list[float]) -> None:
    chosen = settings(lr_scheduler_type=shape, warmup_ratio=1 / 3)
    assert [rate_at(step, chosen, 6) for step in range(7)] == pytest.approx(rates, abs=1e-6)


def test_learning_rate_without_warmup_starts_at_its_peak() -> None:
    chosen = settings(warmup_ratio=0.0)
    optimizer = build_optimizer([torch.nn.Parameter(torch.ones(2, 2))], chosen)
    assert build_schedule(optimizer, chosen, 10).get_last_lr() == [1e-3]


def test_weight_decay_shrinks_matrices_and_leaves_vectors() -> None:
    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([matrix, vector], settings(learning_rate=0.5, weight_decay=0.1))
    (matrix.sum() * 0 + vector.sum() * 0).backward()
    optimizer.step()
    assert torch.allclose(matrix, torch.full((2, 2), 0.95))
    assert torch.equal(vector, torch.ones(2))


def test_settings_are_imported_without_heavy_libraries() -> None:
    code = (
        "import sys, descant.stages.training.settings as s; s.TrainCompute();"
        "heavy = {'torch', 'transformers', 'peft', 'ray', 'deepspeed', 'mlflow'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
