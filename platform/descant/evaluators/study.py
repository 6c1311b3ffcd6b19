"""What a study measured: tasks, methods, the trials that tuned them and the runs that were scored on test data.

Plain values with a lossless JSON form; the statistics over them are in ``study_statistics``.
"""

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError, with_config

from descant.core.errors import DataError, NumericsError
from descant.core.measures import label_of

FORMAT: Literal[1] = 1

_checked = with_config(ConfigDict(extra="forbid", allow_inf_nan=False))

Setting = Mapping[str, JsonValue]
"""By name: the values that tuning chose for one trial."""
PerExample = Mapping[str, float]
"""By example id: the value of the task's deciding measure."""
TrialStatus = Literal["finished", "stopped", "failed", "non-finite"]


class CurvePoint(NamedTuple):
    """What was measured at one optimiser step."""

    step: int
    score: float
    """A validation score in a trial, a training loss in a final run."""


@_checked
@dataclasses.dataclass(frozen=True)
class Budget:
    """What every method of every task got for tuning."""

    kind: str
    """What is counted, in the plural: ``trials``."""
    amount: float


@_checked
@dataclasses.dataclass(frozen=True)
class StudyTask:
    """A task, and what the untrained base reaches on it."""

    name: str
    measure: str
    """The deciding measure: of validation scores and of test scores."""
    higher_is_better: bool
    validation_rows: int
    test_rows: int
    base_scores: PerExample | None
    """Of the untrained base on the test split; None where it cannot do the task (a new head)."""
    forgetting_base: float | None
    """Bits per byte of the untrained base on the probe text; None without a probe."""
    quality: float | None = None
    """The validation score whose time is told for each method; None where none was asked for."""

    @property
    def label(self) -> str:
        """The measure as people write it."""
        return label_of(self.measure)


@_checked
@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting that was tried, scored on the validation split."""

    number: int
    setting: Setting
    status: TrialStatus
    """``stopped`` by the scheduler; ``non-finite`` where the loss was; ``failed`` for any other error."""
    score: float | None
    """The last validation score; None where there is none."""
    curve: tuple[CurvePoint, ...]
    """Validation scores by step."""
    seconds: float
    cause: str
    """Why it has no score; empty where it has one."""


@_checked
@dataclasses.dataclass(frozen=True)
class FinalRun:
    """The chosen setting, trained with one seed and scored on the test split."""

    seed: int
    setting: Setting
    score_by_measure: Mapping[str, float]
    scores: PerExample
    trainable_parameters: int
    """Counted on the adapted model."""
    declared_parameters: int
    """By the method's formula."""
    adapter_bytes: int
    peak_memory_bytes: int
    tokens_per_second: float
    training_seconds: float
    seconds_to_quality: float | None
    """Training seconds until the study's target score was reached; None where it never was."""
    curve: tuple[CurvePoint, ...]
    """Training losses by step."""
    forgetting: float | None
    """Bits per byte on the probe text after training; None without a probe."""
    links: Mapping[str, str]
    """By name: where to find what the run left (an address in the store, a tracking page)."""


@_checked
@dataclasses.dataclass(frozen=True)
class Entry:
    """One method on one task."""

    task: str
    method: str
    trials: tuple[Trial, ...]
    finals: tuple[FinalRun, ...]
    """The runs that finished; none where the method failed on the task."""
    cause: str = ""
    """Why final runs are missing; empty where none is, or where the trials' causes say it."""


@_checked
@dataclasses.dataclass(frozen=True)
class Study:
    """Methods compared on tasks: same base, same tuning budget, same seeds."""

    name: str
    base: str
    """Name and revision of the base model."""
    seed: int
    """Draws the resamples of the statistics."""
    tasks: tuple[StudyTask, ...]
    methods: tuple[str, ...]
    entries: tuple[Entry, ...]
    """At most one for each task and method."""
    budget: Budget
    scheduler: str
    """What stops trials early: ``asha``, or ``none``."""
    search: str
    """What chooses settings: ``random``, ``optuna``."""
    provenance: Mapping[str, str]
    """By name: commit, versions, recipe, machine."""

    def of_task(self, task: str) -> tuple[Entry, ...]:
        """The entries of a task, in the order of ``methods``."""
        order = {method: i for i, method in enumerate(self.methods)}
        return tuple(sorted((e for e in self.entries if e.task == task), key=lambda e: order[e.method]))


def to_json(study: Study) -> bytes:
    """The study as UTF-8 JSON: sorted keys, numbers as Python writes them; equal studies give equal bytes.

    Raises NumericsError for a number that is not finite and DataError for a value of another type.
    """
    # read back once, so that 1 and 1.0 in a float field become the same bytes
    return _encoded(from_json(_encoded(study)))


def from_json(content: bytes) -> Study:
    """The study that ``to_json`` wrote. Raises DataError for anything else."""
    try:
        return _adapter().validate_json(content, strict=True).study
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            "E-STUDY-JSON",
            ".".join(map(str, first["loc"])) or "study",
            first["msg"],
            "Nothing was read. Make the study's results again with this version.",
        ) from None


@_checked
@dataclasses.dataclass(frozen=True)
class _File:
    format: Literal[1]
    study: Study


@cache
def _adapter() -> TypeAdapter[_File]:
    return TypeAdapter(_File)


def _encoded(study: Study) -> bytes:
    content = dataclasses.asdict(_File(FORMAT, study))
    try:
        text = json.dumps(content, sort_keys=True, allow_nan=False, ensure_ascii=False, indent=1)
    except ValueError as error:
        raise NumericsError(
            "E-STUDY-NONFINITE",
            f"study {study.name}",
            f"{error}; expected finite numbers only",
            "Nothing was written. Record a run without a finite score as failed, with its cause.",
        ) from None
    return f"{text}\n".encode()
