"""Trainings in the calling process: one after the other, in any order and thread, with nothing left behind."""

import gc
import json
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from descant.adapters import Full, Lora, Svft
from descant.artifacts.models import TinyModel
from descant.models.folders import ADAPTER
from descant.stages.training import loop
from descant.stages.training.settings import TrainCompute
from descant.stages.training.step_log import StepReport, read_steps
from descant.stages.training.train import run_training
from descant.stages.training.workplace import CHECKPOINTS, STEPS
from tests.stages.training.toy import figures, toy_training

HERE = TrainCompute(workers=0)
CASES: dict[str, dict[str, Any]] = {
    "lora": {"method": Lora(r=4)},
    "full": {"method": Full(), "seed": 3, "contrast_batch": 4},
    "svft": {"method": Svft(), "model": TinyModel(architecture="llama")},
}
MEGABYTE = 2**20


def trained(folder: Path, name: str, **values: Any) -> list[tuple[str, str, str]]:
    """The figures of four steps of a case, in this process."""
    reports: list[StepReport] = []
    run_training(toy_training(folder, compute=HERE, max_steps=4, **CASES[name], **values), reports.append)
    return figures(reports)


def in_one_process(folder: Path, *names: str) -> list[list[tuple[str, str, str]]]:
    """The figures of these cases, one after the other, in a process that does nothing else."""
    code = (
        "import sys, json; from pathlib import Path; from tests.stages.training.test_in_process import trained;"
        "print(json.dumps([trained(Path(sys.argv[1]) / str(i), n) for i, n in enumerate(sys.argv[2:])]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder), *names], capture_output=True, text=True, check=True
    )
    return [[tuple(step) for step in steps] for steps in json.loads(ended.stdout.splitlines()[-1])]


@pytest.mark.slow
def test_many_trainings_in_any_order_give_the_losses_of_fresh_processes(tmp_path: Path) -> None:
    expected = {name: in_one_process(tmp_path / f"fresh-{name}", name)[0] for name in CASES}
    names = ["svft", "lora", "lora", "full", "svft", "lora", "full"]
    for name, found in zip(names, in_one_process(tmp_path / "many", *names), strict=True):
        assert found == expected[name], name


def test_training_in_a_thread_gives_the_same_losses(tmp_path: Path) -> None:
    found: list[list[tuple[str, str, str]]] = []
    thread = threading.Thread(target=lambda: found.append(trained(tmp_path / "thread", "lora")))
    thread.start()
    thread.join()
    assert found == [trained(tmp_path / "main", "lora")]


def test_training_gives_random_generators_and_threads_back(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.rand(1), np.random.rand(), random.random(), torch.get_num_threads()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    run_training(
        toy_training(tmp_path, compute=TrainCompute(workers=0, cpus_per_worker=2), max_steps=2),
        lambda report: None,
    )
    assert (torch.rand(1), np.random.rand(), random.random(), torch.get_num_threads()) == expected


@pytest.mark.slow
def test_thirty_trainings_do_not_grow_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[weakref.ref[Any]] = []
    build = loop.build_engine

    def remembered(*arguments: Any) -> Any:
        engine = build(*arguments)
        engines.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(loop, "build_engine", remembered)
    process, sizes, groups, threads = psutil.Process(), [], [], []
    for i in range(30):
        trained(tmp_path / str(i), list(CASES)[i % 3])
        sizes.append(process.memory_info().rss)
        groups.append(len(torch.distributed.distributed_c10d._world.pg_map))
        threads.append(process.num_threads())
    gc.collect()
    assert len(engines) == 30
    assert [engine() for engine in engines] == [None] * 30
    assert sizes[-1] - sizes[5] < 8 * MEGABYTE
    assert groups[-1] == groups[5]
    assert threads[-1] <= threads[5]


class Stopped(Exception):
    """Stands for a scheduler that ends a trial."""


def stopped_at(step: int, seen: list[StepReport]) -> Callable[[StepReport], None]:
    def report(given: StepReport) -> None:
        seen.append(given)
        if given.step == step:
            raise Stopped

    return report


def test_training_that_the_report_ended_keeps_its_checkpoint_and_is_resumed_to_the_last_bit(
    tmp_path: Path,
) -> None:
    straight, broken = (toy_training(tmp_path / name, compute=HERE) for name in ("straight", "broken"))
    expected: list[StepReport] = []
    run_training(straight, expected.append)
    seen: list[StepReport] = []
    with pytest.raises(Stopped):
        run_training(broken, stopped_at(10, seen))
    assert [report.step for report in seen] == list(range(1, 11))
    assert len(list((broken.folder / CHECKPOINTS).glob("step-00000008-*"))) == 1
    again: list[StepReport] = []
    assert run_training(broken, again.append).resumed_at == 8
    assert [report.step for report in again] == list(range(1, 17))
    assert figures(again) == figures(expected) == figures(read_steps(broken.folder / STEPS))
    weights = [(t.folder / ADAPTER / "adapter_model.safetensors").read_bytes() for t in (straight, broken)]
    assert weights[0] == weights[1]


def test_training_that_was_finished_is_reported_again(tmp_path: Path) -> None:
    training = toy_training(tmp_path, compute=HERE, max_steps=3)
    first: list[StepReport] = []
    again: list[StepReport] = []
    run_training(training, first.append)
    assert run_training(training, again.append).resumed_at == 3
    assert again == first


def test_peak_memory_counts_the_model(tmp_path: Path) -> None:
    outcome = run_training(toy_training(tmp_path, compute=HERE, max_steps=2), lambda report: None)
    assert 0 < outcome.peak_memory_bytes < 200 * MEGABYTE
    assert outcome.peak_memory_kind.startswith("VmHWM")
