"""One cell in a worker of Ray Tune: make what the store lacks of it, and report what came out."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from descant.artifacts.store import Artifact, Store
from descant.core.errors import BusyError, DescantError, Interrupted, NumericsError
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
    seen = 0
    watched, trained = f"{VALIDATION}{cell.measure}", cell.targets[TRAINED].fingerprint

    def metrics(values: Mapping[str, float], step: int) -> None:
        nonlocal seen
        if watched in values:
            if not math.isfinite(values[watched]):
                problem = f"{cell.measure} on validation rows is {values[watched]}"
                raise NumericsError("E-CMP-SCORE", f"{cell.name}, step {step}", problem, "Nothing was saved.")
            seen += 1
            report({"score": values[watched], "step": step, "validation": seen})

    def ended(status: str, score: float | None = None, cause: str = "", exit_code: int = 0) -> dict[str, Any]:
        found = {
            name: made[step.fingerprint] for name, step in cell.targets.items() if step.fingerprint in made
        }
        facts = found[TRAINED].manifest.facts if TRAINED in found else {}
        return {
            "status": status,
            "score": score,
            "cause": cause,
            "exit_code": exit_code,
            "seconds": facts.get("training_seconds", round(time.monotonic() - started, 3)),
            "addresses": {name: artifact.address for name, artifact in found.items()},
        }

    try:
        for step in in_order(cell.targets.values()):
            made[step.fingerprint] = make(step, made, store, profile, metrics)
            if step.fingerprint == trained and not seen:  # made by another cell, or before a kill
                for point in validations_of(made[step.fingerprint], cell.measure):
                    metrics({watched: point.score}, point.step)
    except Interrupted:
        raise
    except NumericsError as error:
        return ended("non-finite", cause=f"{error.where}: {error.problem}", exit_code=error.exit_code)
    except DescantError as error:
        return ended("failed", cause=f"{error.where}: {error.problem}", exit_code=error.exit_code)
    except Exception as error:  # a bug in one method must not end the comparison of the others
        return ended("failed", cause=f"{type(error).__name__}: {error}", exit_code=1)
    facts = made[cell.targets[SCORE].fingerprint].manifest.facts
    score = facts.get(cell.measure)
    if score is None:
        return ended("failed", cause=f"the evaluation has no measure {cell.measure}", exit_code=3)
    if not math.isfinite(score):
        return ended("non-finite", cause=f"{cell.measure} is {score}", exit_code=8)
    return ended("finished", score=float(score))


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
