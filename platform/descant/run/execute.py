"""Running a plan: the missing steps in order, each under its lease, each recorded."""

import contextlib
import json
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from descant.artifacts.commit import write_durably
from descant.artifacts.mirror import push
from descant.artifacts.store import Artifact, Store
from descant.core.errors import Interrupted
from descant.core.fingerprint import canonical
from descant.run.cluster import ray_session
from descant.run.job import Recipe, Results
from descant.run.placement import asked_by, refuse_without_room, rooms_of_ray
from descant.run.plan import Plan, PlannedStep
from descant.run.profile import Profile
from descant.run.progress import Display
from descant.run.runs import JobRun, Run
from descant.stages.base import Metrics, StageContext

log = logging.getLogger(__name__)

DRAFT_NOTE = "draft.json"


def execute(
    plan: Plan,
    recipe: Recipe,
    store: Store,
    profile: Profile,
    tracked: JobRun,
    display: Display,
) -> Results:
    """Run every missing step of ``plan`` and return its targets.

    Raises ResourceError where Ray could never place a missing step, and whatever a stage raises; finished parts and
    steps stay, and the same call resumes.
    """
    with contextlib.ExitStack() as stack:
        if plan.missing:
            display.starting_ray()
            stack.enter_context(ray_session(profile.ray))
            missing = [item.step for item in plan.missing]
            refuse_without_room(asked_by(missing, profile), rooms_of_ray(), profile)
        stack.enter_context(stoppable())  # after Ray, which installs a handler of its own
        done: dict[str, Artifact] = {}
        for number, item in enumerate(plan.steps, start=1):
            artifact = store.find(item.step.stage.name, item.step.fingerprint)
            if artifact is None:
                artifact = _run_step(item, number, done, recipe, store, profile, tracked, display)
            else:
                store.tidy(artifact)
                tracked.cached(item.step.label, artifact.address)
                display.cached(number, item.step.label, artifact)
            display.finding(item.step.stage.finding(artifact.manifest.facts))
            done[item.step.fingerprint] = artifact
    return Results(store, {name: done[step.fingerprint] for name, step in plan.targets.items()})


def _run_step(
    item: PlannedStep,
    number: int,
    done: dict[str, Artifact],
    recipe: Recipe,
    store: Store,
    profile: Profile,
    tracked: JobRun,
    display: Display,
) -> Artifact:
    step = item.step
    inputs = {name: done[upstream.fingerprint] for name, upstream in step.inputs.items()}
    started = time.monotonic()
    with (
        store.draft(
            step.stage.name,
            step.stage.version,
            step.fingerprint,
            step.label,
            step.stage,
            step.input_addresses,
        ) as draft,
        tracked.stage(step.label, draft.fingerprint, canonical(step.stage)) as stage_run,
        display.step(number, step.label) as progress,
    ):
        finished = store.find(step.stage.name, step.fingerprint)
        if finished is not None:  # another run finished it while this one waited for the lease
            return finished
        _note_draft(draft.folder, recipe, step.label, step.stage)
        compute = profile.for_stage(step.stage)
        context = StageContext(draft, inputs, compute, progress, _metrics_to(stage_run))
        outcome = step.stage.run(context)
        artifact = draft.finish(outcome.names, outcome.facts)
        seconds = time.monotonic() - started
        stage_run.metrics({"seconds": seconds, **_numbers(artifact.manifest.facts)})
        log.info("%s: %s in %.1f s", step.label, artifact.address, seconds)
    return artifact


def _metrics_to(stage_run: Run) -> Metrics:
    def metrics(values: Mapping[str, float], step: int) -> None:
        stage_run.metrics(values, step=step)

    return metrics


def _note_draft(folder: Path, recipe: Recipe, label: str, stage: Any) -> None:
    """Leave a note of what is being made here, for ``find_drift`` and for people."""
    note = {"recipe": str(recipe.path.resolve()), "label": label, "spec": canonical(stage)}
    write_durably(folder / DRAFT_NOTE, json.dumps(note, indent=1))
    push(folder / DRAFT_NOTE)


def _numbers(facts: dict[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the run with exit 75 after the present part or step was left resumable."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(
            "E-RUN-STOPPED",
            "this run",
            "asked to stop (SIGTERM)",
            "Everything finished is kept; run the same command to resume.",
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
