"""Cells: one training of a comparison with its evaluations; and the record of how it ended.

A record is a small JSON file, written when its cell has ended. A cell with a record is not run again, unless it failed:
disks get emptied and servers come back.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from descant.artifacts.commit import write_durably
from descant.artifacts.mirror import pull_missing, push
from descant.artifacts.store import Artifact
from descant.run.compare.space import Setting
from descant.stages.base import Step

Phase = Literal["tuning", "final"]
Status = Literal["finished", "stopped", "failed", "non-finite"]

RECORDS = "records"
"""The folder of a study that holds them."""
TRAINED, SCORE, FORGETTING, DATA = "trained", "score", "forgetting", "data"
"""Names of targets: the training, the evaluation whose facts hold the deciding measure, the probe of what the base
could do before, and the rows."""


@dataclass(frozen=True)
class Cell:
    """A training to be made: of a method, with a setting, on a task."""

    phase: Phase
    task: str
    method: str
    number: int
    """Of the trial, or of the seed."""
    seed: int
    setting: Setting
    targets: Mapping[str, Step] = field(repr=False)
    """What is to be made, by name; ``score`` is the evaluation that decides."""
    measure: str
    higher_is_better: bool

    @property
    def name(self) -> str:
        """For logs and run names."""
        kind = "trial" if self.phase == "tuning" else "seed"
        return f"{self.task}, {self.method}, {kind} {self.number}"


@dataclass(frozen=True)
class Point:
    """What a validation during training found."""

    step: int
    score: float


@dataclass(frozen=True)
class Record:
    """How a cell ended."""

    phase: Phase
    task: str
    method: str
    number: int
    seed: int
    setting: Setting
    status: Status
    score: float | None
    """The deciding measure; for a stopped trial the last one it had."""
    curve: tuple[Point, ...]
    seconds: float
    """Of training, or until it failed or was stopped."""
    addresses: Mapping[str, str]
    """``stage/fingerprint`` of each target that was made."""
    cause: str = ""
    """Why it failed or was stopped."""
    exit_code: int = 0
    """What a command that failed in this way would exit with."""


def validations_of(training: Artifact, measure: str) -> list[Point]:
    """What a training's step log says of ``measure`` on the validation rows; nothing where it was not validated."""
    lines = [json.loads(line) for line in training.path("steps").read_text("utf-8").splitlines()]
    return [
        Point(int(line["step"]), float(line["validation"][measure]))
        for line in lines
        if measure in line.get("validation", {})
    ]


def write_record(folder: Path, record: Record) -> None:
    """Keep a record; an existing one is replaced."""
    path = _path(folder, record.phase, record.task, record.method, record.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(asdict(record), indent=1, sort_keys=True, allow_nan=False))
    push(path)


def read_records(folder: Path, phase: Phase, task: str, method: str) -> list[Record]:
    """The records of a method on a task that stand, by number: those of failed cells do not."""
    here = _path(folder, phase, task, method, 0).parent
    pull_missing(here)
    paths = here.glob("*.json")
    records = [record for record in map(_read, paths) if record.status != "failed"]
    return sorted(records, key=lambda record: record.number)


def _path(folder: Path, phase: Phase, task: str, method: str, number: int) -> Path:
    return folder / RECORDS / phase / task / slug(method) / f"{number:04d}.json"


def slug(method: str) -> str:
    """A method's name as a file's: ``lora r=4`` becomes ``lora-r-4``."""
    return re.sub(r"[^a-z0-9.]+", "-", method)


def _read(path: Path) -> Record:
    values = json.loads(path.read_text("utf-8"))
    setting = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values["setting"].items()
    }
    curve = tuple(Point(**point) for point in values["curve"])
    return Record(**{**values, "setting": setting, "curve": curve})
