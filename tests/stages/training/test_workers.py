"""Two workers against one, ZeRO stages against each other, resume and faults, all in two gloo processes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from descant.adapters import Dora, Full
from descant.stages.training.objective import Training
from descant.stages.training.workers import join_group
from tests.stages.training.test_masked_tokens import training as masked
from tests.stages.training.toy import llama
from tests.stages.training.two_workers import BANDED, FACTORED, steps_of, work_all


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two-workers")
    mp.spawn(work_all, (folder,), nprocs=2)
    return json.loads((folder / "results.json").read_text())


def relative(found: list[float], expected: list[float]) -> float:
    difference = np.linalg.norm(np.subtract(found, expected))
    return float(difference / np.linalg.norm(expected))


def distance(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest relative difference of losses, gradient norms and weights."""
    pairs = [(found[key], expected[key]) for key in ("losses", "norms")]
    flat = [[x for values in run["weights"].values() for x in values] for run in (found, expected)]
    return max(relative(*pair) for pair in [*pairs, (flat[0], flat[1])])


def alone(training: Training) -> dict[str, Any]:
    """The figures of one worker, with one thread as each of the two has: sums are rounded in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        join_group("cpu")
        return steps_of(training)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("zero-0", {}),
        ("contrast-4", {"contrast_batch": 4}),
        ("dora-0", {"method": Dora(r=4, lora_dropout=0.0)}),
        ("full-0", {"method": Full()}),
        ("svft-0", {"method": BANDED}),
        ("svft-factored-0", {"method": FACTORED}),
    ],
)
def test_two_workers_train_as_one_does(
    name: str, values: dict[str, Any], results: dict[str, Any], tmp_path: Path
) -> None:
    assert distance(results[name], alone(llama(tmp_path, **values))) < 1e-6


def test_two_workers_fill_in_masked_text_as_one_does(results: dict[str, Any], tmp_path: Path) -> None:
    expected = alone(masked(tmp_path))
    assert distance(results["masked-0"], expected) < 1e-6
    assert distance(results["masked-3"], expected) < 1e-6


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("zero-1", "zero-0"),
        ("zero-2", "zero-0"),
        ("zero-3", "zero-0"),
        ("recompute", "zero-0"),
        ("dora-3", "dora-0"),
        ("full-2", "full-0"),
        ("full-3", "full-0"),
        ("svft-1", "svft-0"),
        ("svft-2", "svft-0"),
        ("svft-3", "svft-0"),
        ("svft-factored-3", "svft-factored-0"),
    ],
)
def test_zero_stage_and_recomputation_do_not_change_numbers(
    name: str, other: str, results: dict[str, Any]
) -> None:
    assert distance(results[name], results[other]) < 1e-6


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bf16_follows_fp32_within_its_precision(stage: int, results: dict[str, Any]) -> None:
    assert relative(results[f"bf16-{stage}"]["losses"], results["zero-0"]["losses"]) < 2e-2


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_resume_of_two_workers_repeats_eleven_steps_to_the_last_bit(
    stage: int, results: dict[str, Any]
) -> None:
    found = results[f"resume-{stage}"]
    assert found["position"] == 5
    assert found["again"] == found["undisturbed"]


@pytest.mark.parametrize("stage", [0, 2])
def test_row_with_a_vector_that_is_not_finite_is_named_before_the_update(
    stage: int, results: dict[str, Any]
) -> None:
    found = results[f"poison-{stage}"]
    rank = found["rows"][0].index("row-003") // 4
    assert (
        f"step {found['step']}: the vectors of these rows are not finite: rank {rank}: row-003."
        in (found["message"])
    )
    assert found["unchanged"]
