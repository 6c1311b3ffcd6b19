"""One cell in a worker of Ray Tune: make what the store lacks of it, and report what came out."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from descant.artifacts.store import Artifact, Store
from descant.core.errors import BusyError, DataError, DescantError, Interrupted, NumericsError
from descant.run.compare.cells import SCORE, TRAINED, Cell, validations_of
from descant.run.profile import Profile
from descant.stages.base import Metrics, StageContext, Step, in_order, silent

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
VALIDATION = "validation_"
"""In front of a measure's name: what a training reports of it on its validation rows."""

Report = Callable[[dict[str, Any]], None]


def run_cell(cell: Cell, store: Store, profile: Profile, report: Report) -> dict[str, Any]:
    """Make the targets of ``cell``; the ending as the last fields of its ``Record``.

    ``report`` receives ``score``, ``step`` and ``validation`` (a count from 1) at each validation during training; it
    may raise SystemExit to end the trial. Errors are part of the answer, so that one cell never ends the others.
    """
    started = time.monotonic()
    made: dict[str, Artifact] = {}
    ending: dict[str, Any] = {"status": "finished", "score": None, "cause": "", "exit_code": 0}
    try:
        _make_targets(cell, store, profile, Watched(cell, report), made)
        ending["score"] = _score(cell, made)
    except Interrupted:
        raise
    except DescantError as error:
        status = "non-finite" if isinstance(error, NumericsError) else "failed"
        ending |= {"status": status, "cause": f"{error.where}: {error.problem}", "exit_code": error.exit_code}
    except Exception as error:  # a bug in one method must not end the comparison of the others
        ending |= {"status": "failed", "cause": f"{type(error).__name__}: {error}", "exit_code": 1}
    found = {name: made[step.fingerprint] for name, step in cell.targets.items() if step.fingerprint in made}
    facts = found[TRAINED].manifest.facts if TRAINED in found else {}
    return {
        **ending,
        "seconds": facts.get("training_seconds", round(time.monotonic() - started, 3)),
        "addresses": {name: artifact.address for name, artifact in found.items()},
    }


class Watched:
    """A ``Metrics`` that reports the deciding measure of a cell's training and counts its validations in ``seen``."""

    def __init__(self, cell: Cell, report: Report) -> None:
        self.cell, self.report, self.seen = cell, report, 0

    def __call__(self, values: Mapping[str, float], step: int) -> None:
        """Report what ``values`` hold of it; raises as ``score``."""
        name = f"{VALIDATION}{self.cell.measure}"
        if name in values:
            self.score(values[name], step)

    def score(self, value: float, step: int) -> None:
        """Report a validation score; raises NumericsError for one that is not finite."""
        _check_finite(value, f"{self.cell.name}, step {step}", f"{self.cell.measure} on validation rows")
        self.seen += 1
        self.report({"score": value, "step": step, "validation": self.seen})


def _make_targets(
    cell: Cell, store: Store, profile: Profile, watched: Watched, made: dict[str, Artifact]
) -> None:
    """Fill ``made``, by fingerprint, with the targets of ``cell`` and all that they need."""
    trained = cell.targets[TRAINED].fingerprint
    for step in in_order(cell.targets.values()):
        made[step.fingerprint] = make(step, made, store, profile, watched)
        if step.fingerprint == trained and not watched.seen:  # made by another cell, or before a kill
            for point in validations_of(made[trained], cell.measure):
                watched.score(point.score, point.step)


def _score(cell: Cell, made: Mapping[str, Artifact]) -> float:
    """The deciding measure; raises DataError where it is missing and NumericsError where it is not finite."""
    score = made[cell.targets[SCORE].fingerprint].manifest.facts.get(cell.measure)
    if score is None:
        problem = f"the evaluation has no measure {cell.measure}"
        raise DataError("E-CMP-SCORE", cell.name, problem, "Its training is kept.")
    _check_finite(score, cell.name, cell.measure)
    return float(score)


def _check_finite(value: float, where: str, what: str) -> None:
    if not math.isfinite(value):
        raise NumericsError("E-CMP-SCORE", where, f"{what} is {value}", "Nothing was saved.")


def make(
    step: Step, made: Mapping[str, Artifact], store: Store, profile: Profile, metrics: Metrics
) -> Artifact:
    """The result of ``step``: found, or made now, or awaited where another process is making it."""
    stage = step.stage
    inputs = {name: made[upstream.fingerprint] for name, upstream in step.inputs.items()}
    waits = 0
    while (found := store.find(stage.name, step.fingerprint)) is None:
        with contextlib.ExitStack() as stack:
            try:
                draft = stack.enter_context(
                    store.draft(
                        stage.name, stage.version, step.fingerprint, step.label, stage, step.input_addresses
                    )
                )
            except BusyError as error:
                log.log(logging.DEBUG if waits else logging.WARNING, "waiting for another process: %s", error)
                waits += 1
                time.sleep(POLL_SECONDS)
                continue
            if (found := store.find(stage.name, step.fingerprint)) is None:
                outcome = stage.run(StageContext(draft, inputs, profile.for_stage(stage), silent, metrics))
                found = draft.finish(outcome.names, outcome.facts)
    return found
