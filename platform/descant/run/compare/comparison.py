"""A comparison as a job: candidates with their search spaces, budget, seeds; subclasses say what a cell's steps are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from descant.core.spec import Spec
from descant.run.compare.cells import Cell, Phase
from descant.run.compare.search import Search
from descant.run.compare.space import Axis, Setting, corners, grid, probes
from descant.run.job import Job
from descant.run.plan import check_made
from descant.run.profile import Profile
from descant.stages.base import Step, in_order

Scheduler = Literal["none", "asha", "median"]

TRAININGS = ("train", "train_task", "train_text")
"""Stages whose results, and all that is made of them, belong to one cell."""

FIXED = frozenset({"seed", "validate_every", "method", "examples"})
LENGTHS = frozenset({"num_train_epochs", "max_steps", "global_batch"})
"""Settings that are no axes: never, and under a scheduler."""


class Budget(Spec):
    """What each method may spend on tuning on each task, the same for all; exactly one of the two is given."""

    trials: int | None = Field(None, ge=1)
    """Settings tried."""
    seconds: float | None = Field(None, gt=0)
    """Seconds of training and scoring; the last trial may end later."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.trials is None) == (self.seconds is None):
            raise ValueError("give the budget either in trials or in seconds")
        return self

    @property
    def kind(self) -> Literal["trials", "seconds"]:
        """Which of the two counts."""
        return "trials" if self.trials is not None else "seconds"

    @property
    def amount(self) -> float:
        """How many of them."""
        return float(self.trials or self.seconds or 0)


class Comparison(Job):
    """A job that tunes several methods on several tasks with equal budgets and scores the best settings with seeds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name of the study: reports and registered models carry it."""
    budget: Budget
    """For each method on each task."""
    search: Search = "random"
    """How settings are chosen: at random, evenly spread from a random start (``quasi_random``, better where trials are
    few), by Optuna's TPE, or all of a grid."""
    scheduler: Scheduler = "none"
    """What stops trials early: nothing, ASHA, or the median rule."""
    validations: int = Field(1, ge=1)
    """Validations during each training, evenly spread; what a scheduler looks at."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the final runs on the test split; at least three, or the report says that training noise is unknown."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError(f"seeds {list(self.seeds)}: give different ones, at least one")
        return self

    @model_validator(mode="after")
    def _grids_are_as_large_as_the_budget(self) -> Self:
        for method, space in self.spaces().items() if self.search == "grid" else ():
            size = len(grid(space))
            if size != self.budget.trials:
                raise ValueError(
                    f"the grid of {method} has {size} settings, the budget is {self.budget.amount:g} "
                    f"{self.budget.kind}: give all methods grids of that many"
                )
        return self

    @model_validator(mode="after")
    def _trainings_can_take_every_setting(self) -> Self:
        fixed = FIXED if self.scheduler == "none" else FIXED | LENGTHS
        for method, space in self.spaces().items():
            if unfit := fixed & set(space):
                raise ValueError(
                    f"{method}: {', '.join(sorted(unfit))} cannot be an axis: the study sets seeds and "
                    "validations, and a scheduler compares trainings of one length"
                )
            for setting in probes(space):
                for task in self.tasks():
                    self.check_setting(task, method, setting)
        return self

    @model_validator(mode="after")
    def _scheduler_sees_the_measure(self) -> Self:
        for task in self.tasks() if self.scheduler != "none" else ():
            measure, _ = self.measure(task)
            if measure not in self.validated(task):
                raise ValueError(
                    f"scheduler {self.scheduler} cannot see {measure} of {task}: trainings report "
                    f"{', '.join(self.validated(task)) or 'no score'} on validation rows"
                )
        return self

    def steps(self) -> Mapping[str, Step]:
        """What cells share and no training precedes, and what the untrained base reaches: made before the first trial.

        What depends on a setting (another set of target modules has other singular vectors) is found at the ends of
        every axis; the rest of it is made by the first trial that needs it.
        """
        shared = {step.fingerprint: step for step in self.corner_steps() if not _belongs_to_cell(step)}
        found = {f"{step.label} ({step.fingerprint})": step for step in shared.values()}
        for task in self.tasks():
            found |= {f"{role}: {task}": step for role, step in self.base_targets(task).items()}
        return found

    def corner_steps(self) -> Iterator[Step]:
        """Every step of the cells at the ends of every axis, some more than once."""
        for task in self.tasks():
            for method, space in self.spaces().items():
                for setting in corners(space):
                    targets = self.targets(task, method, setting, seed=self.seeds[0], phase="final")
                    yield from in_order(targets.values())

    def spaces(self) -> Mapping[str, Mapping[str, Axis]]:
        """The search space of each method, by its name."""
        raise TypeError(f"{type(self).__name__} has no methods")

    def tasks(self) -> Sequence[str]:
        """The names of the tasks."""
        raise TypeError(f"{type(self).__name__} has no tasks")

    def measure(self, task: str) -> tuple[str, bool]:
        """The deciding measure of a task, and whether higher is better."""
        raise TypeError(f"{type(self).__name__} has no measures")

    def validated(self, task: str) -> Sequence[str]:
        """Measures that trainings report on validation rows."""
        return ()

    def base_targets(self, task: str) -> Mapping[str, Step]:
        """What is asked of the untrained base: ``score`` where it can do the task; and ``data``, what is scored on."""
        raise TypeError(f"{type(self).__name__} has no tasks")

    def declared_parameters(self, task: str, method: str, setting: Setting) -> int:
        """How many parameters train by the method's formula, heads left out."""
        raise TypeError(f"{type(self).__name__} has no methods")

    def quality(self, task: str) -> float | None:
        """The validation score whose time is told for each method; None where none is asked for."""
        return None

    def base_name(self) -> str:
        """The base model, for people."""
        raise TypeError(f"{type(self).__name__} has no base")

    def check_setting(self, task: str, method: str, setting: Setting) -> None:
        """Raise ValueError where the method cannot take ``setting``."""

    def targets(
        self, task: str, method: str, setting: Setting, *, seed: int, phase: Phase
    ) -> Mapping[str, Step]:
        """What a cell makes, by name: ``trained`` and ``score``, and what else is measured."""
        raise TypeError(f"{type(self).__name__} has no cells")

    def cell(self, task: str, method: str, setting: Setting, *, number: int, phase: Phase) -> Cell:
        """Trial ``number`` of a method, or its final run with seed number ``number``.

        All trials of a study share the first seed, so that they differ by their settings alone.
        """
        seed = self.seeds[0] if phase == "tuning" else self.seeds[number]
        measure, higher = self.measure(task)
        return Cell(
            phase=phase,
            task=task,
            method=method,
            number=number,
            seed=seed,
            setting=setting,
            targets=self.targets(task, method, setting, seed=seed, phase=phase),
            measure=measure,
            higher_is_better=higher,
        )


def cells_line(job: Comparison) -> str:
    """How much a comparison will run, in a line."""
    groups = len(job.tasks()) * len(job.spaces())
    unit = job.budget.kind.removesuffix("s") if job.budget.amount == 1 else job.budget.kind
    tuning = f"{job.budget.amount:g} {unit} of tuning each"
    tasks = "1 task" if len(job.tasks()) == 1 else f"{len(job.tasks())} tasks"
    return f"{len(job.spaces())} methods on {tasks}, {tuning}, {groups * len(job.seeds)} final runs"


def check_cells(job: Comparison, profile: Profile) -> None:
    """Raise what the stages of cells can know before anything starts."""
    inner = profile.of_trial()
    steps = {step.fingerprint: step for step in job.corner_steps() if _belongs_to_cell(step)}
    for step in steps.values():
        check_made(step)
        step.stage.check(inner.for_stage(step.stage))


def _belongs_to_cell(step: Step) -> bool:
    return step.stage.name in TRAININGS or any(map(_belongs_to_cell, step.inputs.values()))
