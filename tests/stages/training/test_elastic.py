"""Trainings that go on with another number of workers: to the same losses, and only where that is right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.multiprocessing as mp
from pydantic import ValidationError

from descant.adapters import Lora
from descant.core.errors import ConfigError
from descant.stages.training.loop import Trainer
from descant.stages.training.objective import Training
from descant.stages.training.settings import TrainCompute, TrainSettings, plan_batches
from descant.stages.training.workers import join_group
from tests.stages.toy_encoder import shared_encoder
from tests.stages.training.toy import figures, llama, run, toy_training
from tests.stages.training.two_workers import join, leave

FIRST, LATER = 5, 6
"""Steps before the save, and after it."""


def training(folder: Path, workers: int, case: str) -> Training:
    """Without dropout in the optimiser's float32 or in bf16, or with dropout."""
    compute = TrainCompute(workers=workers)
    if case == "dropout":
        return toy_training(folder, compute=compute)
    return llama(folder, compute=compute, precision=case)


def saved(folder: Path, workers: int, case: str) -> list[float]:
    """Losses of the steps after a save."""
    trainer = Trainer(training(folder, workers, case))
    run(trainer, FIRST)
    trainer.save()
    return [report.loss for report in run(trainer, LATER)]


def resumed(folder: Path, workers: int, case: str) -> list[tuple[str, str, str]]:
    """Figures of these steps by a new trainer."""
    trainer = Trainer(training(folder, workers, case))
    trainer.resume()
    assert trainer.position == FIRST
    return figures(run(trainer, LATER))


def two(rank: int, folder: Path) -> None:
    shared_encoder()
    join(rank, folder)
    found: dict[str, Any] = {}
    for case in ("fp32", "bf16"):
        found[f"two, {case}"] = saved(folder / f"two-{case}", 2, case)
        found[f"one to two, {case}"] = resumed(folder / f"one-{case}", 2, case)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    leave()


def losses(steps: list[Any]) -> list[float]:
    return [float.fromhex(step[0]) if isinstance(step[0], str) else step[0] for step in steps]


@pytest.mark.slow
def test_another_number_of_workers_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    join_group("cpu")
    alone = {case: saved(tmp_path / f"one-{case}", 1, case) for case in ("fp32", "bf16")}
    mp.spawn(two, (tmp_path,), nprocs=2)
    found = json.loads((tmp_path / "found.json").read_text())
    for case, tolerance in (("fp32", 1e-5), ("bf16", 0.02)):
        fewer = losses(resumed(tmp_path / f"two-{case}", 1, case))
        more = losses(found[f"one to two, {case}"])
        np.testing.assert_allclose(found[f"two, {case}"], alone[case], rtol=tolerance)
        np.testing.assert_allclose(fewer, alone[case], rtol=tolerance)
        np.testing.assert_allclose(more, alone[case], rtol=tolerance)
        steps = np.abs(np.diff(alone[case]) / alone[case][:-1])
        assert steps.min() > 5 * tolerance, "a step that was left out or done twice would not be seen"


def test_sharded_training_is_not_resumed_by_another_number(tmp_path: Path) -> None:
    """As if two workers had saved it: their number stands in the manifest alone."""
    join_group("cpu")
    own = toy_training(tmp_path, compute=TrainCompute(workers=1, zero=1))
    trainer = Trainer(own)
    run(trainer, 1)
    written = trainer.save().folder / "manifest.json"
    written.write_text(written.read_text().replace('"workers": 1', '"workers": 2'))
    with pytest.raises(ConfigError, match=r"E-TRN-LAYOUT.*saved by 2 workers under ZeRO 1"):
        Trainer(own).resume()


def test_dropout_after_a_change_of_workers_depends_on_seed_step_and_rank_alone(tmp_path: Path) -> None:
    join_group("cpu")
    saved(tmp_path, 1, "dropout")
    as_saved = resumed(tmp_path, 1, "dropout")
    for manifest in tmp_path.glob("checkpoints/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace('"workers": 1', '"workers": 2'))
    first, second = (resumed(tmp_path, 1, "dropout") for _ in range(2))
    assert first == second != as_saved


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": 4, "min_workers": 2, "zero": 1}, "needs zero: 0"),
        ({"workers": 2, "min_workers": 2}, "must be less than workers = 2"),
        ({"workers": 0, "min_workers": 1}, "must be less than workers = 0"),
        ({"workers": 2, "min_workers": 0}, "greater than or equal to 1"),
    ],
)
def test_ranges_of_workers_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainCompute(**values)


def test_every_number_of_workers_between_must_split_a_contrast_batch() -> None:
    settings = TrainSettings(method=Lora(), learning_rate=1e-3, global_batch=16)
    assert plan_batches(settings, TrainCompute(workers=2, min_workers=1)).micro_batch == 16
    with pytest.raises(ConfigError, match=r"E-TRN-SPLIT.*workers = 3: a contrast batch of 16 rows"):
        plan_batches(settings, TrainCompute(workers=4, min_workers=2))


def test_micro_batch_is_that_of_the_fewest_workers() -> None:
    settings = TrainSettings(method=Lora(), learning_rate=1e-3, global_batch=64)
    with pytest.raises(ConfigError, match=r"E-TRN-MICRO.*64 rows over 1 workers are 64 each"):
        plan_batches(settings, TrainCompute(workers=2, min_workers=1, max_micro_batch=32))


def test_ray_is_told_both_numbers_and_a_worker_the_one_that_came_out() -> None:
    from descant.stages.training.train import scaling

    assert scaling(TrainCompute(workers=4, min_workers=2)).num_workers == (2, 4)
    assert scaling(TrainCompute(workers=4)).num_workers == 4
    fixed = TrainCompute(workers=4, min_workers=2, cpus_per_worker=3).fixed(3)
    assert (fixed.workers, fixed.min_workers, fixed.cpus_per_worker) == (3, None, 3)


@pytest.mark.ray
@pytest.mark.slow
def test_training_begins_with_the_workers_that_ray_has_room_for(tmp_path: Path) -> None:
    from descant.run.cluster import ray_session
    from descant.run.profile import RayCompute
    from descant.stages.training.train import run_training

    one = toy_training(tmp_path, compute=TrainCompute(workers=2, min_workers=1), max_steps=4)
    with ray_session(RayCompute(num_cpus=1, object_store_megabytes=80)):
        assert run_training(one, lambda figures: None).num_steps == 4
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("checkpoints/*/manifest.json")]
    assert {manifest["workers"] for manifest in manifests} == {1}
