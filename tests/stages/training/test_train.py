"""Real Ray Train workers: killed, stopped, and refused."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch.multiprocessing as mp

from descant.core.errors import DataError, NumericsError
from descant.models.folders import ADAPTER
from descant.stages.training.settings import TrainCompute
from descant.stages.training.step_log import StepReport, read_steps
from descant.stages.training.train import run_training
from descant.stages.training.workplace import STEPS
from tests.stages.training.toy import figures, toy_training
from tests.stages.training.two_workers import work_one

pytestmark = pytest.mark.ray
TWO = TrainCompute(workers=2, zero=2)


@pytest.fixture(autouse=True)
def quick_health_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


def train_workers() -> list[int]:
    """Process ids of the training workers that descend from this process."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if "RayTrainWorker" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_training_with_a_worker_killed_ends_like_an_undisturbed_one(local_ray: None, tmp_path: Path) -> None:
    long: dict[str, Any] = {"compute": TWO, "max_steps": 120, "num_train_epochs": 100, "save_steps": 10}
    straight, broken = (toy_training(tmp_path / name, **long) for name in ("straight", "broken"))
    mp.spawn(work_one, (straight,), nprocs=2)
    killed: list[int] = []
    seen: list[int] = []

    def kill_once(report: StepReport) -> None:
        seen.append(report.step)
        if report.step >= 12 and not killed:
            killed.append(train_workers()[1])
            os.kill(killed[0], signal.SIGKILL)

    outcome = run_training(broken, on_progress=kill_once)
    assert killed
    assert 10 <= outcome.resumed_at < 120
    assert seen == list(range(1, 121))
    assert figures(read_steps(broken.folder / STEPS)) == figures(read_steps(straight.folder / STEPS))
    adapters = [t.folder / ADAPTER / "adapter_model.safetensors" for t in (straight, broken)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


def test_training_without_ray_gives_the_figures_of_a_ray_worker(local_ray: None, tmp_path: Path) -> None:
    found: dict[int, list[StepReport]] = {0: [], 1: []}
    for workers, reports in found.items():
        compute = TrainCompute(workers=workers)
        run_training(toy_training(tmp_path / str(workers), compute=compute, max_steps=4), reports.append)
    assert figures(found[0]) == figures(found[1])


@pytest.mark.slow
def test_training_whose_follower_has_seen_enough_stops_and_can_go_on(local_ray: None, tmp_path: Path) -> None:
    training = toy_training(tmp_path, compute=TWO, max_steps=4000, num_train_epochs=4000, save_steps=5)

    def enough(report: StepReport) -> None:  # as Ray Tune ends a trial
        if report.step >= 3:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_training(training, enough)
    stopped_at = read_steps(training.folder / STEPS)[-1].step
    assert 3 <= stopped_at < 2000
    with pytest.raises(SystemExit):
        run_training(training, enough)
    assert read_steps(training.folder / STEPS)[-1].step > stopped_at


def test_training_that_is_not_finite_comes_back_as_our_error_at_once(local_ray: None, tmp_path: Path) -> None:
    training = toy_training(tmp_path, compute=TWO, learning_rate=1e30, warmup_ratio=0.0)
    with pytest.raises(NumericsError, match=r"step \d+") as caught:
        run_training(training, on_progress=lambda report: None)
    assert caught.value.exit_code == 8


def test_training_with_too_few_rows_is_refused_before_ray_starts(tmp_path: Path) -> None:
    training = toy_training(tmp_path, global_batch=64)
    with pytest.raises(DataError, match="give 0 contrast batches of 64 rows"):
        run_training(training, on_progress=lambda report: None)
    assert not (tmp_path / "ray").exists()
