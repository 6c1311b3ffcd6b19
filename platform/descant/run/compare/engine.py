"""The search algorithm that Ray Tune sees: it hands out the groups' next cells in turn and keeps what came out."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.search import Searcher

from descant.run.compare.cells import TRAINED, Cell, Point, Record
from descant.run.compare.tuning import Group, Listener


@dataclass
class _Running:
    cell: Cell
    started: float = field(default_factory=time.monotonic)
    curve: list[Point] = field(default_factory=list)
    ending: dict[str, Any] | None = None


class GroupSearch(Searcher):
    """Asks the groups in turn; ``keep`` receives the record of each cell that has ended.

    ``error`` is the first error that keeping or listening raised: no cell is handed out after it. ``stopped`` are the
    addresses of trainings that a scheduler stopped.
    """

    def __init__(self, groups: Sequence[Group], keep: Callable[[Record], None], listener: Listener) -> None:
        super().__init__()
        self._groups, self._keep, self._listener = list(groups), keep, listener
        self._turn = 0
        self._running: dict[str, _Running] = {}
        self.error: BaseException | None = None
        self.stopped: list[tuple[str, str]] = []

    def suggest(self, trial_id: str) -> Any:
        """The next cell of the group whose turn it is, of the next one where that has enough."""
        if self.error is not None:
            raise self.error
        with self._remembered():
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
        with self._remembered():
            self._hear(self._running[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep the record: of the ending if there was one, else of a trial that was stopped or whose process died."""
        running = self._running.pop(trial_id, None)
        if running is None:  # Tune says it a second time where the first one raised
            return
        with self._remembered():
            self._hear(
                running, result or {}
            )  # the validation after which a trial is stopped comes here alone
            record = _record(running, died=error)
            if record.status == "stopped":
                trained = running.cell.targets[TRAINED]
                self.stopped.append((trained.stage.name, trained.fingerprint))
            self._keep(record)

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        """Tune swallows some errors of a searcher, and wraps the others."""
        try:
            yield
        except BaseException as error:
            self.error = self.error or error
            raise

    def _hear(self, running: _Running, result: dict[str, Any]) -> None:
        if "ending" in result:
            running.ending = json.loads(result["ending"])
        elif result.get("validation", 0) > len(running.curve):
            point = Point(int(result["step"]), float(result["score"]))
            running.curve.append(point)
            self._listener.validated(running.cell, point)

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
            ending |= {
                "status": "failed",
                "score": None,
                "cause": "its process died, see the logs of Ray",
                "exit_code": 4,
            }
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
