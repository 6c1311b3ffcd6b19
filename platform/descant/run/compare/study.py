"""From a comparison to its study: tune every method, train the best settings with every seed, gather what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from descant.artifacts.store import Store
from descant.core.errors import (
    BusyError,
    ConfigError,
    DataError,
    DependencyError,
    IntegrityError,
    NumericsError,
    PolicyError,
    ResourceError,
)
from descant.core.seeds import seed_for
from descant.run.compare.cells import Cell, Phase, Record, read_records
from descant.run.compare.comparison import Budget, Comparison, Scheduler
from descant.run.compare.search import ask
from descant.run.compare.tuning import Group, Listener, run_groups
from descant.run.profile import Profile

Name = tuple[str, str]
"""A task and a method."""

LEAST_SECONDS = 1.0
"""What a trial is charged at least, so that one that fails at once is not repeated for ever."""

_ERRORS = {
    cls.exit_code: cls
    for cls in (
        ConfigError,
        DataError,
        ResourceError,
        IntegrityError,
        PolicyError,
        DependencyError,
        NumericsError,
        BusyError,
    )
}


@dataclass(frozen=True)
class Phases:
    """All records of a study: by task and method, of tuning and of the final runs."""

    tuning: Mapping[Name, Sequence[Record]]
    finals: Mapping[Name, Sequence[Record]]


def run_phases(
    job: Comparison,
    folder: Path,
    *,
    store: Store,
    profile: Profile,
    listening: Callable[[Phase, Mapping[Name, Record]], AbstractContextManager[Listener]],
) -> Phases:
    """Tune, then train the best settings with every seed; what has a record in ``folder`` is not run again.

    ``listening`` gives a listener for each phase, for as long as it runs; it is told which trials were chosen before.
    """

    def run(
        phase: Phase, groups: Sequence[Group], scheduler: Scheduler, chosen: Mapping[Name, Record]
    ) -> None:
        with listening(phase, chosen) as listener:
            run_groups(
                groups,
                folder,
                store=store,
                profile=profile,
                scheduler=scheduler,
                num_validations=job.validations,
                listener=listener,
            )

    names = [(task, method) for task in job.tasks() for method in job.spaces()]
    tuned = [_tuning_group(job, name, folder) for name in names]
    run("tuning", tuned, job.scheduler, {})
    best = {group.name: best_of(group.records, group.higher_is_better) for group in tuned}
    chosen = {name: trial for name, trial in best.items() if trial is not None}
    scored = [_final_group(job, name, trial, folder) for name, trial in chosen.items()]
    run("final", scored, "none", chosen)
    return Phases(
        tuning={group.name: in_order(group.records) for group in tuned},
        finals={group.name: in_order(group.records) for group in scored},
    )


def refuse_all_failed(name: str, phases: Phases) -> None:
    """Raise as the first cell that failed did, where nothing was left to compare."""
    if any(record.status == "finished" for records in phases.finals.values() for record in records):
        return
    records = [r for found in (phases.tuning, phases.finals) for rs in found.values() for r in rs]
    failed = next((record for record in records if record.status in ("failed", "non-finite")), records[0])
    problem = (
        f"no method has a final run; the first that failed: {failed.task}, {failed.method}: {failed.cause}"
    )
    if failed.exit_code not in _ERRORS:
        raise RuntimeError(f"study {name}: {problem}")
    raise _ERRORS[failed.exit_code](
        "E-CMP-FAILED",
        f"study {name}",
        problem,
        "Nothing was compared; what was finished is kept. Mend the cause and run the same command.",
    )


def best_of(records: Sequence[Record], higher_is_better: bool) -> Record | None:
    """The finished trial with the best validation score, the earliest of equal ones; None where none finished."""
    finished = [record for record in in_order(records) if record.status == "finished"]
    sign = 1 if higher_is_better else -1
    return max(finished, key=lambda record: sign * (record.score or 0.0), default=None)


def in_order(records: Sequence[Record]) -> tuple[Record, ...]:
    """By number."""
    return tuple(sorted(records, key=lambda record: record.number))


def _tuning_group(job: Comparison, name: Name, folder: Path) -> Group:
    task, method = name
    space = job.spaces()[method]
    _, higher = job.measure(task)

    def next_trial(number: int, ended: Sequence[Record]) -> Cell:
        seed = seed_for(job.seed, task, method)
        setting = ask(job.search, space, number, ended, seed=seed, higher_is_better=higher)
        return job.cell(task, method, setting, number=number, phase="tuning")

    records = read_records(folder, "tuning", task, method)
    return Group(name, next_trial, _wants_more(job.budget), higher, records)


def _wants_more(budget: Budget) -> Callable[[Sequence[Record], int], bool]:
    if budget.trials is not None:
        trials = budget.trials
        return lambda ended, num_begun: num_begun < trials
    seconds = budget.seconds or 0.0

    def has_seconds(ended: Sequence[Record], num_begun: int) -> bool:
        """Trials that run count as long as the longest that has ended, and none for less than a second."""
        spent = [max(LEAST_SECONDS, record.seconds) for record in ended]
        return sum(spent) + (num_begun - len(spent)) * max(spent, default=0.0) < seconds

    return has_seconds


def _final_group(job: Comparison, name: Name, best: Record, folder: Path) -> Group:
    task, method = name
    _, higher = job.measure(task)

    def next_run(number: int, ended: Sequence[Record]) -> Cell:
        return job.cell(task, method, best.setting, number=number, phase="final")

    records = read_records(folder, "final", task, method)
    return Group(name, next_run, lambda ended, num_begun: num_begun < len(job.seeds), higher, records)
