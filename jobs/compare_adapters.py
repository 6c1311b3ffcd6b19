"""Compare adaptation methods, or in-context examples, on one base: equal tuning budgets, several seeds, paired tests.

    for every task and method:  prepare ── [decompose] ── train ── score      `budget` settings, on validation rows
                                the best setting with every seed ── score     on test rows
    study: table with intervals, Pareto plots, report, champions

Papers: arXiv:2405.19597 (SVFT, its question asked fairly) and those of the methods, see docs/methods.md;
arXiv:2410.20088 (RARe) for examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from descant.adapters import AnyMethod
from descant.core.spec import Spec
from descant.run.compare.cells import Phase, slug
from descant.run.compare.compared import ComparedTask
from descant.run.compare.comparison import Comparison
from descant.run.compare.search_task import SearchTask, ShownExamples
from descant.run.compare.space import Axis, Setting, applied
from descant.run.compare.tasks import AnyComparedTask
from descant.stages.base import Step
from descant.tasks import LOWER_IS_BETTER

_PARTS: dict[str, TypeAdapter[Any]] = {
    "method": TypeAdapter(AnyMethod),
    "examples": TypeAdapter(ShownExamples),
}
"""What a candidate has settings of its own for, beside those of the training."""


class Candidate(Spec):
    """A method that is compared, with what tuning may change."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9 =.,-]{0,62}$")
    """Its name in tables."""
    method: AnyMethod
    """The method."""
    examples: ShownExamples | None = None
    """In-context examples shown with queries, on tasks that are retrieval; none if left out."""
    space: Mapping[str, Axis]
    """By name: settings of the training, such as ``learning_rate``, of the method, such as ``method.r``, or of the
    examples, such as ``examples.k_train``."""


class CompareAdapters(Comparison):
    """Tune adaptation methods with equal budgets on several tasks and compare them with seeds and intervals."""

    job: Literal["compare_adapters"] = "compare_adapters"
    """This job."""
    on: tuple[AnyComparedTask, ...] = Field(min_length=1)
    """The tasks, each with the base as it sees it."""
    methods: tuple[Candidate, ...] = Field(min_length=2)
    """What is compared."""

    def spaces(self) -> Mapping[str, Mapping[str, Axis]]:
        """As the candidates have them."""
        return {candidate.name: candidate.space for candidate in self.methods}

    def tasks(self) -> Sequence[str]:
        """By name."""
        return [task.name for task in self.on]

    def measure(self, task: str) -> tuple[str, bool]:
        """The task's first measure."""
        measure = self._task(task).measure
        return measure, measure not in LOWER_IS_BETTER

    def validated(self, task: str) -> Sequence[str]:
        """As the task's trainings do."""
        return self._task(task).validated

    def quality(self, task: str) -> float | None:
        """As the task asks for."""
        return self._task(task).quality

    def base_name(self) -> str:
        """The bases of the tasks, each once."""
        return ", ".join(dict.fromkeys(task.base.title for task in self.on))

    def base_targets(self, task: str) -> Mapping[str, Step]:
        """The data, and what the base reaches where it can do the task."""
        return self._task(task).base_targets(self.seed)

    def targets(
        self, task: str, method: str, setting: Setting, *, seed: int, phase: Phase
    ) -> Mapping[str, Step]:
        """One training and its evaluation; data are drawn by the study's seed, trainings by their own."""
        values = self._values(method, setting) | {"seed": seed}
        return self._task(task).targets(values, phase, self.seed, self.validations)

    def check_setting(self, task: str, method: str, setting: Setting) -> None:
        """Build the settings: pydantic says what is wrong with them."""
        if "examples" in self._values(method, setting) and not isinstance(self._task(task), SearchTask):
            raise ValueError(
                f"{method} has examples, which are shown with queries, and {task} is no retrieval"
            )
        self.targets(task, method, setting, seed=self.seeds[0], phase="tuning")

    def declared_parameters(self, task: str, method: str, setting: Setting) -> int:
        """From the shapes of the base alone."""
        found: int = self._values(method, setting)["method"].num_parameters(self._task(task).skeleton())
        return found

    @model_validator(mode="after")
    def _names_differ(self) -> "CompareAdapters":
        for what, names in (("tasks", self.tasks()), ("methods", [slug(m.name) for m in self.methods])):
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have one name: {', '.join(names)}")
        return self

    def _task(self, name: str) -> ComparedTask:
        return next(task for task in self.on if task.name == name)

    def _values(self, name: str, setting: Setting) -> dict[str, Any]:
        """The settings of a training: what the candidate says with what the setting changes of it, and the rest."""
        candidate = next(candidate for candidate in self.methods if candidate.name == name)
        given = {key: part.model_dump() for key in _PARTS if (part := getattr(candidate, key)) is not None}
        parts, rest = applied(setting, given, _PARTS)
        return {key: _PARTS[key].validate_python(value) for key, value in parts.items()} | rest
