"""Rows 35, 36, 59 and 60 of the fault table: SIGKILL of workers and of the driver, then the same command.

A run whose workers are killed, and one whose driver is killed twice, end with the contents of an undisturbed run:
every result has the same digest, every evaluation the same numbers, every training step the same loss to the bit.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from descant.artifacts.store import Artifact, Store
from descant.stages.training.step_log import read_steps
from descant.testing.history import check_history
from tests.faults.command import ROOT, output, start
from tests.faults.conftest import new_home
from tests.faults.processes import end, kill_when, left_after
from tests.faults.tiny_job import RECIPE, write_job

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAVE_STEPS = 2
JOB = (
    RECIPE.replace("{data}", str(ROOT / "jobs/data/strategyqa_facts"))
    .replace("max_steps: 2", "num_train_epochs: 3")
    .replace("save_steps: 1", f"save_steps: {SAVE_STEPS}")
    .replace("global_batch: 4", "global_batch: 16")
    .replace("passages_per_part: 20", "passages_per_part: 24")
)
COMPUTE = """\
ray: {num_cpus: 4}
embed: {workers: 2, cpus: 0.9, threads: 1}
train: {workers: 2, zero: 1}
"""
GRACE_SECONDS = 120
"""Two agents of a dead Ray try to reach it for a minute before they end; its other processes take seconds."""


class Home:
    """A store and temporary folder of its own, and the runs that were started there."""

    def __init__(self) -> None:
        self.folder = new_home()
        self.store = Store(self.folder / "store")
        self.arguments = ["run", *write_job(self.folder, JOB, COMPUTE)]
        self.sessions: list[int] = []

    def start(self) -> "subprocess.Popen[bytes]":
        process = start(self.folder, *self.arguments)
        self.sessions.append(process.pid)
        return process

    def finish(self, process: "subprocess.Popen[bytes]") -> str:
        """Wait for the end; the output of a run that delivered."""
        code = process.wait()
        assert code == 0, output(self.folder)
        assert "Traceback" not in output(self.folder)
        return output(self.folder)

    def entries(self) -> dict[str, int]:
        """Every published part of the passages' vectors, and when it was published."""
        paths = self.store.root.glob("embed/*/entries/*.json")
        return {str(path): path.stat().st_mtime_ns for path in paths}

    def steps(self) -> int:
        """Steps that the unfinished training has logged."""
        return max(
            (len(read_steps(path)) for path in self.store.root.glob("train/*/training/steps.jsonl")),
            default=0,
        )

    def ray_folders(self) -> list[Path]:
        return list((self.folder / "tmp").glob("descant-ray-*"))

    def close(self) -> None:
        for session in self.sessions:
            end(session)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def golden() -> Iterator[Home]:
    """A run that nothing disturbed."""
    home = Home()
    home.finish(home.start())
    yield home
    home.close()


@pytest.fixture
def disturbed() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


def test_killed_embedding_actor_and_training_worker_are_replaced_and_nothing_changes(
    golden: Home, disturbed: Home
) -> None:
    run = disturbed.start()
    kill_when(run, lambda: len(disturbed.entries()) >= 5, "ray::MapWorker")
    before = disturbed.entries()
    kill_when(run, lambda: disturbed.steps() >= 7, "ray::RayTrainWorker")
    seen = disturbed.steps()
    disturbed.finish(run)
    assert_kept(before, disturbed)
    assert_resumed(disturbed, seen)
    assert_same(golden, disturbed)
    assert left_after(run.pid, seconds=GRACE_SECONDS) == {}
    assert not disturbed.ray_folders()


def test_killed_driver_and_the_same_command_again_give_the_same_results(
    golden: Home, disturbed: Home
) -> None:
    first = disturbed.start()
    kill_when(first, lambda: len(disturbed.entries()) >= 5)
    before = disturbed.entries()

    second = disturbed.start()
    kill_when(second, lambda: disturbed.steps() >= 7)
    assert "taking over" in output(disturbed.folder)
    assert left_after(second.pid, seconds=GRACE_SECONDS, name="ray::RayTrainWorker") == {}
    assert_kept(before, disturbed)
    seen = disturbed.steps()  # workers go on for a moment without their driver

    third = disturbed.start()
    assert "done before" in disturbed.finish(third)
    assert_resumed(disturbed, seen)
    assert_same(golden, disturbed)
    assert [left_after(session, seconds=GRACE_SECONDS) for session in disturbed.sessions] == [{}, {}, {}]
    assert not disturbed.ray_folders(), "what killed drivers left of Ray must not pile up"


def assert_kept(before: dict[str, int], home: Home) -> None:
    """No part that was published before a kill was made again."""
    after = home.entries()
    assert {path: after[path] for path in before} == before


def assert_resumed(home: Home, seen: int) -> None:
    """The training went on from a checkpoint: at most one save interval was done twice."""
    (trained,) = (artifact for artifact in home.store.all() if artifact.manifest.stage == "train")
    assert seen - SAVE_STEPS <= trained.manifest.facts["resumed_at"] <= seen + SAVE_STEPS


def assert_same(golden: Home, home: Home) -> None:
    """The same results at the same addresses, whole and with the same contents."""
    expected = {artifact.address: artifact for artifact in golden.store.all()}
    assert {artifact.address for artifact in home.store.all()} == set(expected)
    for address, artifact in expected.items():
        stage, fingerprint = address.split("/")
        timed = stage in ("train", "report")  # they hold seconds
        digest = None if timed else artifact.manifest.digest
        found = check_history(home.store, stage, fingerprint, golden_digest=digest)
        if stage == "train":
            assert found.part("retriever").sha256 == artifact.part("retriever").sha256
            assert losses(found) == losses(artifact)
        if stage == "evaluate":
            assert found.manifest.facts == artifact.manifest.facts


def losses(trained: Artifact) -> list[tuple[Any, str]]:
    """Step and loss of every step, the loss to the bit."""
    lines = trained.path("steps").read_text().splitlines()
    return [(step["step"], float(step["loss"]).hex()) for step in map(json.loads, lines)]
