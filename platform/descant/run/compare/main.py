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
from descant.run.compare.cells import RECORDS, Cell, Phase, Point, Record
from descant.run.compare.champions import register_champions, unregistered
from descant.run.compare.comparison import Comparison, cells_line
from descant.run.compare.gather import gather
from descant.run.compare.study import Name, refuse_all_failed, run_phases
from descant.run.compare.table import study_table
from descant.run.compare.tracked import TrackedStudy
from descant.run.compare.tuning import Listener
from descant.run.execute import execute, stoppable
from descant.run.job import Results, load_recipe
from descant.run.main import NOISE, say_where
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
STUDY, TABLE = "study", "table.tsv"
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
    if artifact is None or unregistered(_study(artifact), store):
        display = Display(console, len(plan.steps) + len(LABELS))
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
            results = execute(plan, recipe, store, profile, tracked, display)
            if artifact is None:
                label = f"study {job.name}"
                with stoppable(), store.draft(STAGE, VERSION, fingerprint, label, job, inputs) as draft:
                    artifact = _made(job, draft, results, tracked, profile=profile, display=display)
            champions = unregistered(_study(artifact), store)
            register_champions(champions, recipe, artifact, results, tracked)
        spooled = tracked.spooled
    else:
        spooled = send_spooled(store.root)
    study = _study(artifact)
    console.print()
    console.print(study_terminal_table(study))
    console.print(f"\nreport      {artifact.path(STUDY) / 'report.html'}", highlight=False, soft_wrap=True)
    say_where(console, spooled)
    return study


def _study(artifact: Artifact) -> Study:
    return from_json((artifact.path(STUDY) / "study.json").read_bytes())


def study_address(job: Comparison, plan: Plan) -> tuple[str, dict[str, str]]:
    """The fingerprint of a comparison's study, and the addresses of what it shares."""
    inputs = {name: f"{step.stage.name}/{step.fingerprint}" for name, step in plan.targets.items()}
    return address_of(STAGE, VERSION, job, inputs), inputs


def _made(
    job: Comparison, draft: Draft, results: Results, tracked: JobRun, *, profile: Profile, display: Display
) -> Artifact:
    """Run the cells, and publish ``study``: what they measured, its report, its table and the records."""
    runs = TrackedStudy(tracked, results.store)

    @contextlib.contextmanager
    def listening(phase: Phase, chosen: Mapping[Name, Record]) -> Iterator[Listener]:
        with _shown(job, phase, display) as shown:
            yield shown + runs.listener(chosen)

    phases = run_phases(job, draft.folder, store=results.store, profile=profile, listening=listening)
    refuse_all_failed(job.name, phases)
    study = gather(job, phases, results)

    def write(folder: Path) -> None:
        write_study_report(study, folder)
        (folder / TABLE).write_text(study_table(study), "utf-8")
        shutil.copytree(draft.folder / RECORDS, folder / RECORDS)

    publish(draft.folder, STUDY, write, rows=0)  # as one: a study that is gathered again may have other times
    return draft.finish([STUDY], {"entries": len(study.entries)})


@contextlib.contextmanager
def _shown(job: Comparison, phase: Phase, display: Display) -> Iterator[Listener]:
    """A line of the display for a phase: cells done, and the last one that ended."""
    number = display.steps - len(LABELS) + 1 + list(LABELS).index(phase)
    total = (
        len(job.tasks())
        * len(job.spaces())
        * (len(job.seeds) if phase == "final" else job.budget.trials or 0)
    )
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
