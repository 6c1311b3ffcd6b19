"""The contract of a stage, and the steps that a job is planned into.

A stage is a spec (its slice of the recipe) with ``run``. A step puts a stage in its place: a label, upstream steps, and
so a fingerprint. Whoever runs the step opens a draft at that address and calls ``run`` with a context.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from descant.artifacts.manifest import address_of
from descant.artifacts.store import Artifact, Draft
from descant.core.spec import Compute, Spec
from descant.stages.held import Held


class Progress(Protocol):
    """Where a stage tells how far it is."""

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """``done`` of ``total`` units are finished; ``note`` is shown beside the rate."""


class Metrics(Protocol):
    """Where a stage leaves the figures of a step while it runs."""

    def __call__(self, values: Mapping[str, float], step: int) -> None:
        """``values`` by name, at ``step``."""


def untracked(values: Mapping[str, float], step: int) -> None:
    """``Metrics`` that go nowhere."""


@dataclass(frozen=True)
class StageContext:
    """What a stage may use while it runs."""

    draft: Draft
    inputs: Mapping[str, Artifact]
    compute: Compute
    progress: Progress
    metrics: Metrics = untracked

    @property
    def folder(self) -> Path:
        """Where parts are published."""
        return self.draft.folder


@dataclass(frozen=True)
class Outcome:
    """What a stage hands back: the names of its parts and the facts for the manifest."""

    names: Iterable[str]
    facts: Mapping[str, Any]


class Stage(Spec):
    """A stage's slice of the recipe and the work it stands for."""

    name: ClassVar[str]
    """The folder of its results in the store, and the key of its compute section."""
    version: ClassVar[int] = 1
    """Raised by hand when the meaning of the output changes, and only then."""
    compute_class: ClassVar[type[Compute]] = Compute
    """The settings of its section in a compute profile."""

    def check(self, compute: Compute) -> None:
        """Raise what can be known before anything starts: missing files, impossible combinations."""

    def held(self, compute: Compute) -> Held | None:
        """The model that a process of the stage holds; nothing for stages without one."""
        return None

    def run(self, context: StageContext) -> Outcome:
        """Compute and publish the parts."""
        raise TypeError(f"{type(self).__name__} does not say how it runs")

    def finding(self, facts: Mapping[str, Any]) -> str:
        """What its result says that a reader has to know before the steps after it; mostly nothing."""
        return ""


@dataclass(frozen=True)
class Step:
    """A stage in its place in a job."""

    label: str
    """A name for people, unique within the job."""
    stage: Stage
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    note: str = ""
    """What a reader of the plan should know about it."""

    @cached_property
    def fingerprint(self) -> str:
        """The address of its result."""
        return address_of(self.stage.name, self.stage.version, self.stage, self.input_addresses)

    @property
    def input_addresses(self) -> dict[str, str]:
        """``stage/fingerprint`` of each input."""
        return {name: f"{step.stage.name}/{step.fingerprint}" for name, step in self.inputs.items()}


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """A ``Progress`` that shows nothing."""


def in_order(targets: Iterable[Step]) -> tuple[Step, ...]:
    """``targets`` and everything they need, upstream first, each address once."""
    found: dict[str, Step] = {}

    def visit(step: Step) -> None:
        for upstream in step.inputs.values():
            visit(upstream)
        found.setdefault(f"{step.stage.name}/{step.fingerprint}", step)

    for target in targets:
        visit(target)
    return tuple(found.values())
