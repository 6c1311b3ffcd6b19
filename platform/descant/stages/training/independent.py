"""Objectives whose rows do not see each other: how a step is dealt to workers and micro-batches.

The loss of a step is the sum over its rows (or their target tokens) divided by their number in the whole step, so
neither workers nor micro-batches change it. A unit is what the model reads as one: a row, or several short ones.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist

from descant.artifacts.tables import read_table
from descant.core.errors import DataError
from descant.core.fingerprint import fingerprint
from descant.stages.training.batches import BatchOrder
from descant.stages.training.objective import Objective, Share, Training
from descant.stages.training.settings import (
    Optimisation,
    TaskTrainSettings,
    TextTrainSettings,
    check_rows,
    plan_rows,
)

Unit = TypeVar("Unit")
Record = Mapping[str, Any]

EXAMPLE_ROWS = 8
"""Rows that a method which starts from data sees at once."""
VALIDATION_ROWS = 256
"""Rows that are tokenised at once while validating."""


@dataclass(frozen=True, kw_only=True)
class TaskTraining(Training):
    """The training of a model on a task's rows."""

    settings: TaskTrainSettings | TextTrainSettings
    validation: Path | None = None
    """The validation rows, as a parquet file that every worker sees."""

    @property
    @abstractmethod
    def model_spec(self) -> Any:
        """The settings of the model."""

    def records(self) -> Sequence[Record]:
        """The rows that are trained on."""
        return read_records(self.rows)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return row_order(len(self.records()), self.settings, self.rows).num_steps

    @property
    def validate_every(self) -> int | None:
        """Steps between validations; none where there are no rows for it."""
        return self.settings.validate_every if self.validation is not None else None

    def recipe(self) -> str:
        """Fingerprint of everything that changes numbers."""
        return fingerprint({"settings": self.settings, "model": self.model_spec, "rows": self.rows_digest()})

    def check(self) -> None:
        """Refuse a method that cannot train and rows that fill no step."""
        check_rows(self.settings, self.compute, self.model_spec.precision)
        _ = self.num_steps


@dataclass(frozen=True)
class Forwarded:
    """Units through the model: the loss summed over what is counted, and what it was made of."""

    row_ids: Sequence[str]
    loss_sum: torch.Tensor
    outputs: Sequence[torch.Tensor]
    tokens: int
    cut_rows: int = 0


@dataclass(frozen=True)
class Dealt(Generic[Unit]):
    """The units of one micro-batch of one worker; a worker that has none left repeats some, not counting them."""

    units: Sequence[Unit]
    counts: bool
    over: float


class IndependentRows(Objective[Dealt[Unit]]):
    """Rows that add to the loss one by one."""

    def __init__(self, training: TaskTraining) -> None:
        self.training, self.settings = training, training.settings
        self.plan = plan_rows(training.settings, training.compute)
        self.precision = training.model_spec.precision
        self.records = training.records()
        self.order = row_order(len(self.records), training.settings, training.rows)
        self.num_steps = self.order.num_steps

    @property
    def most_units(self) -> int:
        """Most units of a micro-batch."""
        return self.plan.micro_batch

    @abstractmethod
    def units(self, records: Sequence[Record]) -> list[Unit]:
        """The rows as the model reads them."""

    @abstractmethod
    def size(self, unit: Unit) -> int:
        """The length of a unit, by which units are sorted so that a micro-batch needs little padding."""

    @abstractmethod
    def counted(self, unit: Unit) -> int:
        """Over how much the unit's loss is a sum: one row, or its target tokens."""

    @abstractmethod
    def forward(self, engine: Any, units: Sequence[Unit]) -> Forwarded:
        """A micro-batch through the engine."""

    def micro_batches(self, step: int) -> list[Dealt[Unit]]:
        """This worker's micro-batches of a step."""
        return self.dealt(self.units(self._records_of(step)))

    def share(self, engine: Any, batch: Dealt[Unit]) -> Share:
        """A micro-batch through the engine."""
        found = self.forward(engine, batch.units)
        return Share(
            row_ids=found.row_ids,
            loss=found.loss_sum * float(batch.counts),
            over=batch.over,
            tokens=found.tokens * batch.counts,
            outputs=found.outputs,
            cut_rows=found.cut_rows * batch.counts,
        )

    def dealt(self, units: Sequence[Unit]) -> list[Dealt[Unit]]:
        """This worker's micro-batches of ``units``, which are the same on every worker."""
        over = sum(map(self.counted, units)) / self.plan.workers
        longest_first = sorted(units, key=self.size, reverse=True)
        parts = deal(longest_first, dist.get_rank(), self.plan.workers, most=self.most_units)
        return [Dealt(part or longest_first[:1], bool(part), over) for part in parts]

    def examples(self) -> Iterator[list[Record]]:
        """A few rows at a time in the order of training, the same on every worker."""
        for step in range(self.num_steps):
            records = self._records_of(step)
            for start in range(0, len(records), EXAMPLE_ROWS):
                yield records[start : start + EXAMPLE_ROWS]

    def validation_batches(self) -> Iterator[list[Record]]:
        """The validation rows in order, some at a time."""
        assert self.training.validation is not None
        records = read_records(self.training.validation)
        for start in range(0, len(records), VALIDATION_ROWS):
            yield records[start : start + VALIDATION_ROWS]

    def _records_of(self, step: int) -> list[Record]:
        return [self.records[row] for row in self.order.step(step).ravel()]


def deal(units: Sequence[Unit], rank: int, workers: int, *, most: int) -> list[Sequence[Unit]]:
    """The micro-batches of worker ``rank``: neighbours together, at most ``most`` each.

    Every worker gets equally many; the last ones may be short or empty.
    """
    num_parts = math.ceil(len(units) / (workers * most))
    size = math.ceil(len(units) / (workers * num_parts))
    starts = ((i * workers + rank) * size for i in range(num_parts))
    return [units[start : start + size] for start in starts]


def summed(values: Sequence[float], device: Any) -> list[float]:
    """The sums of the workers' values; all must call this."""
    own = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(own)
    totals: list[float] = own.tolist()
    return totals


def read_records(path: Path) -> list[Record]:
    """The rows of a part of a prepared task."""
    records: list[Record] = read_table(path).to_pylist()
    return records


def row_order(num_rows: int, settings: Optimisation, path: Path) -> BatchOrder:
    """The order of ``num_rows`` rows; DataError where they fill no step."""
    if num_rows < settings.global_batch:
        raise DataError(
            "E-TRN-FEW",
            f"{path.name}: {num_rows} training rows",
            f"a step needs {settings.global_batch}",
            "Nothing was started. Lower global_batch, or add rows.",
        )
    return BatchOrder([""] * num_rows, settings)
