"""The plan of a job: its steps in order, each with its address and whether it is done. Nothing is started."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from descant.artifacts.commit import ENTRIES
from descant.artifacts.store import Artifact, Store
from descant.core.errors import ConfigError
from descant.run.job import Job
from descant.run.profile import Profile
from descant.stages.base import Step, in_order

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class PlannedStep:
    """A step and what the store holds at its address."""

    step: Step
    artifact: Artifact | None
    parts_there: int

    @property
    def status(self) -> str:
        """``done``, ``started (n parts)`` or ``to do``."""
        if self.artifact is not None:
            return "done"
        return f"started ({self.parts_there} parts)" if self.parts_there else "to do"


@dataclass(frozen=True)
class Plan:
    """All steps of a job, upstream first, and the targets by name."""

    steps: tuple[PlannedStep, ...]
    targets: Mapping[str, Step]

    @property
    def missing(self) -> tuple[PlannedStep, ...]:
        """The steps that still have to run."""
        return tuple(step for step in self.steps if step.artifact is None)


def make_plan(job: Job, store: Store, profile: Profile) -> Plan:
    """Lay out the job and check every step that still has to run, before anything starts.

    Raises what the stages' own checks raise: missing inputs, impossible combinations; and ConfigError where a step
    uses a made model that no step before it makes.
    """
    targets = job.steps()
    planned = []
    for step in in_order(targets.values()):
        check_made(step)
        artifact = store.find(step.stage.name, step.fingerprint)
        entries = store.folder(step.stage.name, step.fingerprint) / ENTRIES
        there = len(list(entries.glob("*.json"))) if artifact is None and entries.is_dir() else 0
        planned.append(PlannedStep(step, artifact, there))
    for item in planned:
        if item.artifact is None:
            item.step.stage.check(profile.for_stage(item.step.stage))
    return Plan(tuple(planned), targets)


def check_made(step: Step) -> None:
    """Raise ConfigError where a model that the step uses is not the result of one of its inputs."""
    for address in _made_models(step.stage.model_dump()):
        if address not in step.input_addresses.values():
            raise ConfigError(
                "E-CFG-MADE",
                step.label,
                f"uses the model {address}, which no step of this job makes before it",
                "Nothing was started. In the recipe write no model of kind made: export it (descant export FINGERPRINT "
                "FOLDER --form merged) and name the folder with kind: folder.",
            )


def _made_models(value: Any) -> Iterator[str]:
    """The addresses of all models of kind made in a dumped spec."""
    if isinstance(value, dict):
        if value.get("kind") == "made":
            yield value["address"]
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _made_models(item)


def plan_table(plan: Plan, asked: Mapping[str, str] | None = None) -> "Table":
    """The plan as a table for the terminal; ``asked`` says by label what the steps to do ask of a cluster."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "step", "result", "status", "from", *([] if asked is None else ["asks for"])):
        table.add_column(
            heading, justify="right" if not heading else "left", no_wrap=heading in ("", "result")
        )
    numbers = {item.step.fingerprint: i for i, item in enumerate(plan.steps, start=1)}
    for i, item in enumerate(plan.steps, start=1):
        style = "green" if item.artifact is not None else "yellow" if item.parts_there else ""
        sources = ", ".join(str(numbers[step.fingerprint]) for step in item.step.inputs.values())
        address = f"{item.step.stage.name}/{item.step.fingerprint}"
        asks = [] if asked is None else [asked.get(item.step.label, "")]
        label = item.step.label + (f" [dim]({item.step.note})[/dim]" if item.step.note else "")
        table.add_row(
            str(i), label, address, f"[{style}]{item.status}[/]" if style else item.status, sources, *asks
        )
    return table
