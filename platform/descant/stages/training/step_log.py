"""The figures of every optimiser step, a JSON line each, cut back to the checkpoint when training resumes."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """One optimiser step over all workers; ``step`` counts from 1, ``grad_norm`` is from before clipping.

    ``cut_rows`` were longer than the model's rows may be; ``validation`` holds scores after the step by name.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    rows_per_second: float
    tokens: int
    cut_rows: int = 0
    validation: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON data, without what the training has none of."""
        return {name: value for name, value in asdict(self).items() if value or name not in _RARE}

    def metrics(self) -> dict[str, float]:
        """All figures but the step's number, one name each."""
        figures = self.plain()
        scores = figures.pop("validation", {})
        del figures["step"]
        return figures | {f"validation_{name}": value for name, value in scores.items()}


_RARE = ("cut_rows", "validation")


def read_steps(path: Path) -> list[StepReport]:
    """All whole lines of the log."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]  # what follows the last newline was cut by a kill
    return [StepReport(**json.loads(line)) for line in lines]


def cut_log(path: Path, last_step: int) -> None:
    """Drop the lines after ``last_step``: those steps are about to be done again."""
    kept = [report for report in read_steps(path) if report.step <= last_step]
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(map(_line, kept)))
    draft.rename(path)


def append_step(path: Path, report: StepReport) -> None:
    """Add one line."""
    with path.open("a") as stream:
        stream.write(_line(report))


def sync_log(path: Path) -> None:
    """Make the lines so far durable, before a checkpoint that builds on them."""
    with path.open("a") as stream:
        os.fsync(stream.fileno())


def _line(report: StepReport) -> str:
    return json.dumps(report.plain()) + "\n"
