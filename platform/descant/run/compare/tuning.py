"""Running cells on Ray Tune: one Tuner over all groups, so that its warm processes serve every method.

A group is a method on a task. Groups take turns; each has its own search, scheduler and budget. Every ending is written
down at once. Nothing of Tune's own state is read again: a killed study goes on from the records.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descant.artifacts.store import Store
from descant.run.compare.cells import Cell, Point, Record, write_record
from descant.run.compare.trial import run_cell
from descant.run.profile import Profile

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from descant.run.compare.comparison import Scheduler

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "86400",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}

Ask = Callable[[int, Sequence[Record]], Cell | None]
"""The cell with this number, given what ended before; None when there is none."""


@dataclass
class Group:
    """The cells of a method on a task. ``wants_more`` decides from what has ended and how many were begun."""

    name: tuple[str, str]
    ask: Ask
    wants_more: Callable[[Sequence[Record], int], bool]
    higher_is_better: bool
    records: list[Record]
    """What has ended, by number; grows while cells run."""
    begun: set[int] = field(default_factory=set)
    exhausted: bool = False

    def next_cell(self) -> Cell | None:
        """The next cell without a record, None where the group has enough."""
        self.begun |= {record.number for record in self.records}
        while not self.exhausted and self.wants_more(self.records, len(self.begun)):
            number = next(n for n in range(len(self.begun) + 1) if n not in self.begun)
            cell = self.ask(number, tuple(self.records))
            if cell is None:
                self.exhausted = True
                break
            self.begun.add(number)
            return cell
        return None


@dataclass(frozen=True)
class Listener:
    """Who wants to know; everything is called in the driver."""

    began: Callable[[Cell], None]
    validated: Callable[[Cell, Point], None]
    ended: Callable[[Record], None]

    def __add__(self, other: Listener) -> Listener:
        """Both are told."""

        def began(cell: Cell) -> None:
            self.began(cell)
            other.began(cell)

        def validated(cell: Cell, point: Point) -> None:
            self.validated(cell, point)
            other.validated(cell, point)

        def ended(record: Record) -> None:
            self.ended(record)
            other.ended(record)

        return Listener(began, validated, ended)


def run_groups(
    groups: Sequence[Group],
    folder: Path,
    *,
    store: Store,
    profile: Profile,
    scheduler: Scheduler,
    num_validations: int,
    listener: Listener,
) -> None:
    """Run what the groups still want, and write a record in ``folder`` for each cell. Needs a running Ray."""
    if not any(_clone(group).next_cell() is not None for group in groups):
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from ray import tune
    from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner

    from descant.run.compare.engine import GroupSearch
    from descant.run.compare.schedule import GroupSchedulers, scheduler_of

    by_name = {group.name: group for group in groups}

    def group_of(trial: Trial) -> tuple[str, str]:
        cell: Cell = trial.config["cell"]
        return cell.task, cell.method

    schedulers = GroupSchedulers(
        group_of,
        lambda name: scheduler_of(
            scheduler, higher_is_better=by_name[name].higher_is_better, num_validations=num_validations
        ),
        lambda name: tuple(by_name[name].records),
    )

    def keep(record: Record) -> None:
        write_record(folder, record)
        by_name[record.task, record.method].records.append(record)
        listener.ended(record)

    compute = profile.trial
    work = tune.with_parameters(_work, root=str(store.root), profile=_inside(profile))
    with _scratch() as scratch, _quiet_tune():
        tuner = Tuner(
            tune.with_resources(work, {"cpu": compute.cpus, "gpu": compute.gpus}),
            tune_config=TuneConfig(
                search_alg=GroupSearch(groups, keep, listener),
                scheduler=schedulers,
                num_samples=-1,
                max_concurrent_trials=compute.most_at_once,
                reuse_actors=True,
            ),
            run_config=RunConfig(
                storage_path=str(scratch), verbose=0, failure_config=FailureConfig(max_failures=0)
            ),
        )
        tuner.fit()


def _work(config: dict[str, Any], *, root: str, profile: Profile) -> None:
    """In a warm process: one cell."""
    import torch
    from ray import tune

    os.environ["DESCANT_STORE"] = root  # where converted models are kept
    torch.set_num_threads(max(1, int(profile.trial.cpus)))
    cell: Cell = config["cell"]
    ending = run_cell(cell, Store(root), profile, tune.report)
    tune.report({"ending": json.dumps(ending)})  # as text: Tune takes nested values apart


def _inside(profile: Profile) -> Profile:
    """The profile of a trial: its stages run in its own process, unless the profile spreads each trial itself."""
    if not profile.trial.in_process:
        return profile
    sections = {
        name: {**section, "workers": 0}
        for name, section in profile.model_dump().items()
        if isinstance(section, dict) and "workers" in section
    }
    return profile.overridden(sections)


def _clone(group: Group) -> Group:
    return Group(
        group.name, group.ask, group.wants_more, group.higher_is_better, list(group.records), set(group.begun)
    )


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Tune writes its own state somewhere; nobody reads it."""
    folder = Path(tempfile.mkdtemp(prefix="descant-tune-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet_tune() -> Iterator[None]:
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
