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

from descant.artifacts.mirror import drop
from descant.artifacts.store import Store
from descant.core.errors import Interrupted
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
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}

SECONDS_TO_END = "600"
"""What a stopped trial may take to leave its training step before its process is given another trial."""

Ask = Callable[[int, Sequence[Record]], Cell]
"""The cell with this number, given what ended before, by number."""


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

    @property
    def is_done(self) -> bool:
        """Whether it has enough cells, ended or begun."""
        begun = self.begun | {record.number for record in self.records}
        return not self.wants_more(self.records, len(begun))

    def next_cell(self) -> Cell | None:
        """The next cell without a record, None where the group has enough."""
        self.begun |= {record.number for record in self.records}
        if self.is_done:
            return None
        number = next(n for n in range(len(self.begun) + 1) if n not in self.begun)
        self.begun.add(number)
        return self.ask(number, tuple(sorted(self.records, key=lambda record: record.number)))


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
    if all(group.is_done for group in groups):
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    from ray import tune
    from ray.tune import FailureConfig, RunConfig, TuneConfig, TuneError, Tuner

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
    work = tune.with_parameters(_work, place=store.place, profile=profile.of_trial())
    search = GroupSearch(groups, keep, listener)
    with _scratch() as scratch, _quiet_tune():
        tuner = Tuner(
            tune.with_resources(work, compute.resources),
            tune_config=TuneConfig(
                search_alg=search,
                scheduler=schedulers,
                num_samples=-1,
                max_concurrent_trials=compute.concurrent(ray.cluster_resources()),  # type: ignore[no-untyped-call]
                reuse_actors=True,
            ),
            run_config=RunConfig(
                storage_path=str(scratch), verbose=0, failure_config=FailureConfig(max_failures=0)
            ),
        )
        try:
            tuner.fit()
        except (TuneError, SystemError) as error:
            _raise_if_stopped(error)
            if search.error is None:
                raise
    if search.error is not None:
        raise search.error
    for stage, fingerprint in search.stopped:  # nobody goes on with their checkpoints
        drop(store.folder(stage, fingerprint))
        shutil.rmtree(store.folder(stage, fingerprint), ignore_errors=True)


def _work(config: dict[str, Any], *, place: str, profile: Profile) -> None:
    """In a warm process: one cell."""
    import torch
    from ray import tune

    os.environ["DESCANT_STORE"] = place  # where converted models are kept
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = (
        SECONDS_TO_END  # read here, before this process takes another trial
    )
    torch.set_num_threads(max(1, int(profile.trial.cpus)))
    cell: Cell = config["cell"]
    ending = run_cell(cell, Store(place), profile, tune.report)
    tune.report({"ending": json.dumps(ending)})  # as text: Tune takes nested values apart


def _raise_if_stopped(error: BaseException | None) -> None:
    """Raise the request to stop that ``error`` was made of: Tune wraps it, and so does Ray's compiled code."""
    while error is not None:
        if isinstance(error, Interrupted):
            raise error from None
        error = error.__cause__ or error.__context__


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
