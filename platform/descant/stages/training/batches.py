"""The order of training rows: a function of the seed and the step alone.

Rows are shuffled inside their task and cut into contrast batches, so that all rows scored against each other
share a task (arXiv:2410.20088, as E5 batches); contrast batches are shuffled over tasks. What is left over of
a task, and of an epoch, is dropped for that epoch. No state is kept: the global step is the whole data
position, whatever the number of workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from descant.core.errors import DataError
from descant.core.seeds import seed_for
from descant.stages.training.settings import Optimisation, TrainSettings


@dataclass(frozen=True)
class BatchOrder:
    """Which rows each optimiser step sees; ``tasks`` gives the task of every row by its index."""

    tasks: Sequence[str]
    settings: Optimisation

    @cached_property
    def _rows_by_task(self) -> Mapping[str, np.ndarray]:
        tasks = np.asarray(self.tasks, dtype=object)
        return {task: np.flatnonzero(tasks == task) for task in sorted(set(self.tasks))}

    @property
    def accumulation(self) -> int:
        """Contrast batches of one optimiser step."""
        return self.settings.global_batch // self.settings.contrast_rows

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch; raises DataError when the rows do not fill one."""
        batches = sum(len(rows) // self.settings.contrast_rows for rows in self._rows_by_task.values())
        if batches < self.accumulation:
            counts = ", ".join(f"{task}: {len(rows)}" for task, rows in self._rows_by_task.items())
            raise DataError(
                "E-TRN-FEW",
                f"{len(self.tasks)} training rows ({counts})",
                f"give {batches} contrast batches of {self.settings.contrast_rows} rows of one task, a step "
                f"needs {self.accumulation}",
                "Nothing was started. Lower contrast_batch or global_batch, or add rows.",
            )
        return batches // self.accumulation

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        steps = self.steps_per_epoch * self.settings.num_train_epochs
        return min(steps, self.settings.max_steps or steps)

    def step(self, number: int) -> np.ndarray:
        """The row indices of step ``number``, int64 [accumulation, contrast rows]."""
        epoch, position = divmod(number, self.steps_per_epoch)
        start = position * self.accumulation
        return self.epoch(epoch)[start : start + self.accumulation]

    def epoch(self, number: int) -> np.ndarray:
        """All contrast batches of an epoch in order, int64 [batches, contrast rows]."""
        size = self.settings.contrast_rows
        cut = []
        for task, rows in self._rows_by_task.items():
            shuffled = self._generator("rows", number, task).permutation(rows)
            cut.append(shuffled[: len(rows) // size * size].reshape(-1, size))
        batches = np.concatenate(cut)
        return batches[self._generator("batches", number).permutation(len(batches))]

    def _generator(self, *labels: str | int) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.settings.seed, "order", *labels))


def keeps_examples(row_id: str, settings: TrainSettings) -> bool:
    """Whether this row's query keeps its in-context examples: by id and seed, the same in every epoch."""
    return seed_for(settings.seed, "examples", row_id) < settings.share_with_examples * 2**63
