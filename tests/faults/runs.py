"""Runs of one small job with a store of their own, and what two of them must have in common."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from descant.artifacts.store import Artifact, Store
from descant.stages.training.step_log import read_steps
from descant.testing.history import check_history
from tests.faults.command import ROOT, new_home, output, start
from tests.faults.processes import end
from tests.faults.tiny_job import RECIPE, write_job

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


class Home:
    """A store and temporary folder of its own, and the runs that were started there."""

    def __init__(self, compute: str = COMPUTE) -> None:
        self.folder = new_home()
        self.store = Store(self.folder / "store")
        self.arguments = ["run", *write_job(self.folder, JOB, compute)]
        self.sessions: list[int] = []

    def start(self, *before: str, **variables: str) -> "subprocess.Popen[bytes]":
        """The run, its command after ``before``, with further ``variables`` in its environment."""
        process = start(self.folder, *self.arguments, before=before, **variables)
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
