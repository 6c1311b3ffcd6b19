"""The figures of every optimiser step, a JSON line each, cut back to the checkpoint when training resumes."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """One optimiser step over all workers; ``step`` counts from 1, ``grad_norm`` is from before clipping."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    rows_per_second: float
    tokens: int


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
    return json.dumps(asdict(report)) + "\n"
