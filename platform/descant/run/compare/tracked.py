"""A study in MLflow: the study is the parent, trials are its children, final runs children of the trial they follow."""

from __future__ import annotations

import json
from collections.abc import Mapping

from descant.artifacts.store import Store
from descant.run.compare.cells import SCORE, TRAINED, Cell, Point, Record
from descant.run.compare.study import Name
from descant.run.compare.tuning import Listener
from descant.run.runs import JobRun, Run, Status

_CLOSED: Mapping[str, Status] = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "failed": "FAILED",
    "non-finite": "FAILED",
}


class TrackedStudy:
    """Opens a run for each cell as it begins, and the same one again where it began before a kill."""

    def __init__(self, parent: JobRun, store: Store) -> None:
        self._parent, self._store = parent, store
        self._open: dict[tuple[str, str, str, int], Run] = {}

    def listener(self, chosen: Mapping[Name, Record]) -> Listener:
        """What to tell of a phase; ``chosen`` holds the trials whose settings the final runs take."""

        def began(cell: Cell) -> None:
            above = self._trial(chosen[cell.task, cell.method]) if cell.phase == "final" else self._parent
            tags = {
                "task": cell.task,
                "method": cell.method,
                "phase": cell.phase,
                "seed": str(cell.seed),
                "setting": json.dumps(cell.setting, sort_keys=True),
            }
            key = f"{cell.phase}/{cell.task}/{cell.method}/{cell.number}"
            run = above.child(
                cell.name, key=key, tags=tags, params=dict(cell.setting), description=_note(cell)
            )
            self._open[_key(cell)] = run

        def validated(cell: Cell, point: Point) -> None:
            self._open[_key(cell)].metrics({f"validation {cell.measure}": point.score}, step=point.step)

        def ended(record: Record) -> None:
            run = self._open.pop(_key(record))
            run.metrics({"seconds": record.seconds} | ({} if record.score is None else {SCORE: record.score}))
            run.metrics(self._facts(record))
            run.tags({"status": record.status, "cause": record.cause, **record.addresses})
            run.close(_CLOSED[record.status])

        return Listener(began, validated, ended)

    def _trial(self, record: Record) -> Run:
        """The run of a trial that has ended, to open children of."""
        key = f"tuning/{record.task}/{record.method}/{record.number}"
        run = self._parent.child(f"{record.task}, {record.method}, trial {record.number}", key=key)
        run.close(_CLOSED[record.status])
        return run

    def _facts(self, record: Record) -> dict[str, float]:
        """What the training and the evaluation measured, as numbers."""
        found: dict[str, float] = {}
        for target in (TRAINED, SCORE):
            address = record.addresses.get(target)
            artifact = self._store.find(*address.split("/")) if address else None
            if artifact is not None:
                found |= {
                    name: float(value)
                    for name, value in artifact.manifest.facts.items()
                    if isinstance(value, int | float) and not isinstance(value, bool)
                }
        return found


def _key(cell: Cell | Record) -> tuple[str, str, str, int]:
    return cell.phase, cell.task, cell.method, cell.number


def _note(cell: Cell) -> str:
    what = "A trial of tuning, scored on validation rows" if cell.phase == "tuning" else "Scored on test rows"
    settings = "".join(f"\n- `{name}`: {value}" for name, value in sorted(cell.setting.items()))
    return f"**{cell.method}** on **{cell.task}**. {what}; seed {cell.seed}.\n{settings}"
