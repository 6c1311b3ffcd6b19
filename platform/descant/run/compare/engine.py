"""The search algorithm that Ray Tune sees: it hands out the groups' next cells in turn and keeps what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.search import Searcher

from descant.run.compare.cells import Cell, Point, Record
from descant.run.compare.tuning import Group, Listener


@dataclass
class _Running:
    cell: Cell
    started: float = field(default_factory=time.monotonic)
    curve: list[Point] = field(default_factory=list)
    ending: dict[str, Any] | None = None


class GroupSearch(Searcher):
    """Asks the groups in turn; ``keep`` receives the record of each cell that has ended."""

    def __init__(self, groups: Sequence[Group], keep: Callable[[Record], None], listener: Listener) -> None:
        super().__init__()
        self._groups, self._keep, self._listener = list(groups), keep, listener
        self._turn = 0
        self._running: dict[str, _Running] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next cell of the group whose turn it is, of the next one where that has enough."""
        for _ in self._groups:
            group = self._groups[self._turn % len(self._groups)]
            self._turn += 1
            cell = group.next_cell()
            if cell is not None:
                self._running[trial_id] = _Running(cell)
                self._listener.began(cell)
                return {"cell": cell}
        return None if self._running else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A validation, or the ending."""
        running = self._running[trial_id]
        if "ending" in result:
            running.ending = json.loads(result["ending"])
        elif "validation" in result:
            point = Point(int(result["step"]), float(result["score"]))
            running.curve.append(point)
            self._listener.validated(running.cell, point)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep the record: of the ending if there was one, else of a trial that was stopped or whose process died."""
        running = self._running.pop(trial_id)
        if result is not None and "ending" in result:
            running.ending = json.loads(result["ending"])
        self._keep(_record(running, died=error))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: records are."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes down a copy of what it was given, and nobody reads it."""
        return {}


def _record(running: _Running, *, died: bool) -> Record:
    cell, ending = running.cell, running.ending
    if ending is None:
        ending = {"seconds": round(time.monotonic() - running.started, 3), "addresses": {}, "exit_code": 0}
        if died:
            ending |= {"status": "failed", "score": None, "cause": "its process died", "exit_code": 4}
        else:
            cause = f"by the scheduler, after validation {len(running.curve)}"
            ending |= {"status": "stopped", "score": running.curve[-1].score, "cause": cause}
    return Record(
        phase=cell.phase,
        task=cell.task,
        method=cell.method,
        number=cell.number,
        seed=cell.seed,
        setting=cell.setting,
        curve=tuple(running.curve),
        **ending,
    )
