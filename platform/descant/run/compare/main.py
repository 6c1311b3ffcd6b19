"""From a comparison's recipe to its report: shared steps, tuning, final runs, statistics, registration."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.commit import publish
from descant.artifacts.manifest import address_of
from descant.artifacts.store import Artifact, Draft, Store
from descant.core.errors import (
    ConfigError,
    DataError,
    DependencyError,
    IntegrityError,
    NumericsError,
    ResourceError,
)
from descant.core.fingerprint import canonical
from descant.evaluators.study import Study, from_json, to_json
from descant.run.cluster import ray_session
from descant.run.compare.cells import RECORDS, Cell, Phase, Point, Record
from descant.run.compare.comparison import Comparison
from descant.run.compare.gather import gather
from descant.run.compare.study import Phases, run_phases
from descant.run.compare.tuning import Listener
from descant.run.execute import execute, stoppable
from descant.run.job import Results, load_recipe
from descant.run.main import NOISE
from descant.run.plan import Plan, make_plan
from descant.run.profile import Profile, load_profile
from descant.run.progress import Display
from descant.run.quiet import noise_in
from descant.run.tracking import Tracker
from descant.stages.study_report import study_terminal_table, write_study_report

if TYPE_CHECKING:
    from rich.console import Console

STAGE, VERSION = "study", 1
STUDY, REPORT = "study", "report"
LABELS: Mapping[Phase, str] = {"tuning": "tune every method", "final": "train the best settings"}
_ERRORS = {
    cls.exit_code: cls
    for cls in (ConfigError, DataError, ResourceError, IntegrityError, DependencyError, NumericsError)
}


def compare(
    path: Path,
    *,
    overrides: Sequence[str],
    compute: Path | None,
    store: Store,
    console: Console,
) -> Study:
    """Run what is missing of the comparison at ``path``, and print its table.

    Raises a DescantError for everything a user can mend, and with the first cause when every method failed; whatever
    was finished stays, and the same call goes on.
    """
    recipe = load_recipe(path, overrides)
    job = recipe.job
    if not isinstance(job, Comparison):
        raise ConfigError(
            "E-CMP-JOB",
            str(path),
            f"job {recipe.job_name} compares nothing",
            f"Nothing was started. Run it with: descant run {path}",
        )
    profile = load_profile(compute)
    plan = make_plan(job, store, profile)
    fingerprint, inputs = study_address(job, plan)
    console.print(
        f"[bold]{recipe.job_name}[/bold] {recipe.path}  [dim]{cells_line(job)}; store {store.root}[/dim]",
        highlight=False,
    )
    artifact = store.find(STAGE, fingerprint)
    if artifact is None:
        display = Display(console, len(plan.steps) + len(LABELS))
        with (
            noise_in(store.root / NOISE),
            Tracker.open(store.root).job(recipe.job_name, canonical(job), recipe.text) as tracked,
            ray_session(profile.ray),
        ):
            results = execute(plan, recipe, store, profile, tracked, display)
            with (
                stoppable(),
                store.draft(STAGE, VERSION, fingerprint, f"study {job.name}", job, inputs) as draft,
            ):
                artifact = _made(job, draft, results, len(plan.steps), profile=profile, display=display)
    study = from_json(artifact.path(STUDY).read_bytes())
    console.print()
    console.print(study_terminal_table(study))
    console.print(f"\nreport      {artifact.path(REPORT) / 'report.html'}", highlight=False, soft_wrap=True)
    console.print("runs        [bold]descant ui[/bold] opens the MLflow pages", highlight=False)
    return study


def study_address(job: Comparison, plan: Plan) -> tuple[str, dict[str, str]]:
    """The fingerprint of a comparison's study, and the addresses of what it shares."""
    inputs = {name: f"{step.stage.name}/{step.fingerprint}" for name, step in plan.targets.items()}
    return address_of(STAGE, VERSION, job, inputs), inputs


def cells_line(job: Comparison) -> str:
    """How much a comparison will run, in a line."""
    groups = len(job.tasks()) * len(job.spaces())
    tuning = f"{job.budget.amount:g} {job.budget.kind} of tuning each"
    return f"{len(job.spaces())} methods x {len(job.tasks())} tasks, {tuning}, {groups * len(job.seeds)} final runs"


def _made(
    job: Comparison, draft: Draft, results: Results, num_before: int, *, profile: Profile, display: Display
) -> Artifact:
    """Run the cells, and publish ``study``, ``report`` and ``records``."""

    def shown(phase: Phase) -> contextlib.AbstractContextManager[Listener]:
        number = num_before + 1 + list(LABELS).index(phase)
        return _shown(job, phase, number, display)

    phases = run_phases(job, draft.folder, store=results.store, profile=profile, listening=shown)
    _refuse_all_failed(job, phases)
    study = gather(job, phases, results)
    publish(draft.folder, STUDY, lambda path: path.write_bytes(to_json(study)), rows=0, suffix=".json")
    publish(draft.folder, REPORT, lambda path: write_study_report(study, path), rows=0)
    publish(draft.folder, RECORDS, lambda path: _copied(draft.folder / RECORDS, path), rows=0)
    return draft.finish([STUDY, REPORT, RECORDS], {"entries": len(study.entries)})


def _copied(source: Path, target: Path) -> None:
    shutil.copytree(source, target)


@contextlib.contextmanager
def _shown(job: Comparison, phase: Phase, number: int, display: Display) -> Iterator[Listener]:
    """A line of the display for a phase: cells done, and the last one that ended."""
    groups = len(job.tasks()) * len(job.spaces())
    total = groups * (len(job.seeds) if phase == "final" else job.budget.trials or 0)
    num_ended = 0
    with display.step(number, LABELS[phase]) as progress:

        def ended(record: Record) -> None:
            nonlocal num_ended
            num_ended += 1
            score = record.cause if record.score is None else f"{record.score:.4f}"
            note = f"{record.task}, {record.method}: {record.status} {score}"
            progress(num_ended, max(total, num_ended), "cells", note)

        def began(cell: Cell) -> None:
            progress(num_ended, max(total, num_ended), "cells", cell.name)

        def validated(cell: Cell, point: Point) -> None:
            progress(
                num_ended, max(total, num_ended), "cells", f"{cell.name}: {point.score:.4f} at {point.step}"
            )

        yield Listener(began, validated, ended)


def _refuse_all_failed(job: Comparison, phases: Phases) -> None:
    """Raise as the first cell that failed did, where nothing was left to compare."""
    if any(record.status == "finished" for records in phases.finals.values() for record in records):
        return
    records = [r for found in (phases.tuning, phases.finals) for rs in found.values() for r in rs]
    failed = next((record for record in records if record.status in ("failed", "non-finite")), records[0])
    raise _ERRORS.get(failed.exit_code, NumericsError)(
        "E-CMP-FAILED",
        f"study {job.name}",
        f"no method has a final run; the first that failed: {failed.task}, {failed.method}: {failed.cause}",
        "Nothing was compared; what was finished is kept. Mend the cause and run the same command.",
    )
