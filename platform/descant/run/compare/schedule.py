"""Early stopping inside one group of trials, by the schedulers of Ray Tune.

Trials are held only against trials of the same method on the same task. Those that ended before this process began are
told to the scheduler again, by number. What it then stops is what it would have stopped had trials run one at a time.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from descant.run.compare.cells import Record
from descant.run.compare.comparison import Scheduler

CONTINUE = TrialScheduler.CONTINUE
REDUCTION = 2
"""ASHA keeps the better half at each rung: with the few validations of a small training, a third leaves one rung."""


def scheduler_of(kind: Scheduler, *, higher_is_better: bool, num_validations: int) -> TrialScheduler:
    """A fresh scheduler for trials that report ``score`` and ``validation`` (1 to ``num_validations``).

    ``asha``: successive halving (arXiv:1810.05934); ``median``: worse than the median of the running means so far.
    """
    mode = "max" if higher_is_better else "min"
    if kind == "asha":
        return AsyncHyperBandScheduler(
            time_attr="validation",
            metric="score",
            mode=mode,
            max_t=max(2, num_validations),
            grace_period=1,
            reduction_factor=REDUCTION,
            stop_last_trials=False,
        )
    if kind == "median":
        return MedianStoppingRule(
            time_attr="validation",
            metric="score",
            mode=mode,
            grace_period=1,
            min_time_slice=math.inf,  # type: ignore[arg-type]  # never pause a trial: it would begin anew
        )
    return FIFOScheduler()  # type: ignore[no-untyped-call]


class GroupSchedulers(FIFOScheduler):
    """One scheduler for each group of trials, made by ``fresh`` and told what ``ended`` before."""

    def __init__(
        self,
        group_of: Callable[[Trial], Any],
        fresh: Callable[[Any], TrialScheduler],
        ended: Callable[[Any], Iterable[Record]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._group_of, self._fresh, self._ended = group_of, fresh, ended
        self._groups: dict[Any, TrialScheduler] = {}
        self._last: dict[str, dict[str, Any]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial begins."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Go on or stop; what a trial says as it ends decides nothing."""
        if "validation" not in result:
            return str(CONTINUE)
        self._last[trial.trial_id] = result
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has ended by itself."""
        last = self._last.pop(trial.trial_id, None)
        if last is not None:
            self._of(trial).on_trial_complete(tune_controller, trial, last)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial's process died: it is forgotten."""
        self._last.pop(trial.trial_id, None)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes down a copy of what it was given, and nobody reads it."""
        return {}

    def _of(self, trial: Trial) -> TrialScheduler:
        group = self._group_of(trial)
        if group not in self._groups:
            self._groups[group] = scheduler = self._fresh(group)
            for record in self._ended(group):
                _tell(scheduler, record)
        return self._groups[group]


@dataclass(frozen=True)
class _Past:
    """A trial of an earlier process, as far as schedulers look at it."""

    trial_id: str


class _Idle:
    """A controller without trials."""

    def get_live_trials(self) -> list[Trial]:
        return []


def _tell(scheduler: TrialScheduler, record: Record) -> None:
    past: Any = _Past(f"ended-{record.number}")
    idle: Any = _Idle()
    scheduler.on_trial_add(idle, past)
    result = None
    for number, point in enumerate(record.curve, start=1):
        result = {"score": point.score, "validation": number}
        if scheduler.on_trial_result(idle, past, result) == TrialScheduler.STOP:
            return
    if result is not None and record.status == "finished":
        scheduler.on_trial_complete(idle, past, result)
