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
from descant.core.errors import ConfigError
from descant.core.fingerprint import canonical
from descant.evaluators.study import Study, from_json
from descant.run.cluster import ray_session
from descant.run.compare.cells import RECORDS, Cell, Phase, Point, Record, read_records
from descant.run.compare.champions import register_champions, unregistered
from descant.run.compare.comparison import Comparison, cells_line, check_cells
from descant.run.compare.gather import gather
from descant.run.compare.study import Name, refuse_all_failed, run_phases
from descant.run.compare.table import study_table
from descant.run.compare.tracked import TrackedStudy
from descant.run.compare.tuning import Listener
from descant.run.execute import execute, stoppable
from descant.run.job import Results, load_recipe
from descant.run.main import NOISE, say_where
from descant.run.placement import asked_by_trials, refuse_without_room, rooms_of_ray
from descant.run.plan import Plan, make_plan
from descant.run.profile import Profile, load_profile
from descant.run.progress import Display
from descant.run.quiet import noise_in
from descant.run.runs import JobRun
from descant.run.tracking import Tracker, send_spooled
from descant.stages.study_report import write_study_report
from descant.stages.study_report_table import study_terminal_table

if TYPE_CHECKING:
    from rich.console import Console

STAGE, VERSION = "study", 1
STUDY, TABLE, PARTIAL = "study", "table.tsv", "partial"
LABELS: Mapping[Phase, str] = {"tuning": "tune every method", "final": "train the best settings"}


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
            f"job {recipe.job_name} is not a comparison",
            f"Nothing was started. Run it with: descant run {path}",
        )
    profile = load_profile(compute)
    plan = make_plan(job, store, profile)
    check_cells(job, profile)
    fingerprint, inputs = study_address(job, plan)
    console.print(
        f"[bold]{recipe.job_name}[/bold] {recipe.path}  [dim]{cells_line(job)}; store {store.place}[/dim]",
        highlight=False,
        soft_wrap=True,
    )
    found = store.find(STAGE, fingerprint)
    if found is not None and not unregistered(_study(found.path(STUDY)), store):
        _print(found.path(STUDY), console)
        say_where(console, send_spooled(store.root))
        return _study(found.path(STUDY))
    labels = [*(item.step.label for item in plan.steps), *LABELS.values()]
    display = Display(console, len(labels), labels)
    with (
        noise_in(store.root / NOISE),
        Tracker.open(store.root).job(
            f"study {job.name}",
            canonical(job),
            recipe.text,
            key=fingerprint,
            tags={"study": job.name},
            description=cells_line(job),
        ) as tracked,
        ray_session(profile.ray),
    ):
        if found is None:
            refuse_without_room([asked_by_trials(profile)], rooms_of_ray(), profile)
        results = execute(plan, recipe, store, profile, tracked, display)
        with stoppable():
            if found is None:
                with store.draft(STAGE, VERSION, fingerprint, f"study {job.name}", job, inputs) as draft:
                    folder, found = _made(job, draft, results, tracked, profile=profile, display=display)
            else:
                folder = found.path(STUDY)
            _print(folder, console)
            if found is not None:
                champions = unregistered(_study(folder), store)
                register_champions(champions, recipe, found, results, tracked)
    if found is None:
        console.print(
            "[yellow]not finished[/yellow]  cells failed (see the report); the same command tries them again",
            highlight=False,
        )
    say_where(console, tracked.spooled)
    return _study(folder)


def study_address(job: Comparison, plan: Plan) -> tuple[str, dict[str, str]]:
    """The fingerprint of a comparison's study, of what it shares and what its cells are made of; and what it shares."""
    inputs = {name: f"{step.stage.name}/{step.fingerprint}" for name, step in plan.targets.items()}
    cells = sorted({f"{step.stage.name}/{step.fingerprint}" for step in job.corner_steps()})
    return address_of(STAGE, VERSION, {"job": job, "cells": cells}, inputs), inputs


def _print(folder: Path, console: Console) -> None:
    console.print()
    console.print(study_terminal_table(_study(folder)))
    console.print(f"\nreport      {folder / 'report.html'}", highlight=False, soft_wrap=True)


def _study(folder: Path) -> Study:
    return from_json((folder / "study.json").read_bytes())


def _made(
    job: Comparison, draft: Draft, results: Results, tracked: JobRun, *, profile: Profile, display: Display
) -> tuple[Path, Artifact | None]:
    """Run the cells, and publish ``study``: what they measured, its report, its table and the records.

    Where a cell failed the same is written, but the study is not finished, so that the next command tries it again.
    """
    runs = TrackedStudy(tracked, results.store)

    @contextlib.contextmanager
    def listening(phase: Phase, chosen: Mapping[Name, Record]) -> Iterator[Listener]:
        with _shown(job, phase, draft.folder, display) as shown:
            yield shown + runs.listener(chosen)

    phases = run_phases(job, draft.folder, store=results.store, profile=profile, listening=listening)
    refuse_all_failed(job.name, phases)
    study = gather(job, phases, results)

    def write(folder: Path) -> None:
        write_study_report(study, folder)
        (folder / TABLE).write_text(study_table(study), "utf-8")
        shutil.copytree(draft.folder / RECORDS, folder / RECORDS)

    if any(
        r.status == "failed" for found in (phases.tuning, phases.finals) for rs in found.values() for r in rs
    ):
        partial = draft.folder / PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        write(partial)
        return partial, None
    publish(draft.folder, STUDY, write, rows=0)  # as one: a study that is gathered again may have other times
    artifact = draft.finish([STUDY], {"entries": len(study.entries)})
    return artifact.path(STUDY), artifact


@contextlib.contextmanager
def _shown(job: Comparison, phase: Phase, folder: Path, display: Display) -> Iterator[Listener]:
    """A line of the display for a phase: cells done, and the last one that ended."""
    number = display.steps - len(LABELS) + 1 + list(LABELS).index(phase)
    total = (
        len(job.tasks())
        * len(job.spaces())
        * (len(job.seeds) if phase == "final" else job.budget.trials or 0)
    )
    num_ended = sum(
        len(read_records(folder, phase, task, method)) for task in job.tasks() for method in job.spaces()
    )
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
