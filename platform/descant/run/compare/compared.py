"""What every task of a comparison says: how much data is used, how long trainings are, and the steps of a cell.

prepare ── [decompose] ── train ─┬─ score (validation rows while tuning, test rows in the end)
                                 └─ probe what the base could do before
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from descant.adapters import AnyMethod, Spectral
from descant.artifacts.models import AnyModel
from descant.core.spec import Spec
from descant.models.encoder import Precision
from descant.run.compare.cells import Phase
from descant.stages.base import Step
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.training.settings import Schedule

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Rows(Spec):
    """How many rows of a task are used, drawn by a hash of their ids."""

    train: int = Field(ge=1)
    """Rows trained on; all there are if there are fewer."""
    validation: int = Field(ge=1)
    """Rows that tuning looks at; taken out of training where the data has no validation split."""
    test: int | None = Field(None, ge=1)
    """Rows that the final runs are scored on; all of them if left out."""


class ComparedTask(Spec):
    """A task of a comparison, with the base as this task sees it."""

    rows: Rows
    """How much of the data is used."""
    training: Schedule
    """How long trainings are, the same for all methods; their settings may lie in a search space too."""
    quality: float | None = None
    """A validation score of the deciding measure: how long each method trains until it is there is reported."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name."""

    @property
    @abstractmethod
    def measure(self) -> str:
        """The deciding measure."""

    @property
    @abstractmethod
    def base(self) -> AnyModel:
        """The base model."""

    @property
    @abstractmethod
    def precision(self) -> Precision:
        """The number format of the base."""

    @abstractmethod
    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """``data``, and ``score`` where the untrained base can do the task."""

    @abstractmethod
    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score`` of a training with these values; ``seed`` draws rows, not the training."""

    def skeleton(self) -> PreTrainedModel:
        """The base without its weights, as methods are attached to it."""
        from descant.models.skeleton import skeleton

        return skeleton(self.base)

    @property
    def validated(self) -> tuple[str, ...]:
        """Measures that its trainings report on validation rows."""
        return ()

    def num_steps(self, schedule: Schedule) -> int:
        """Of a training; fewer where the data has fewer rows."""
        steps = max(1, self.rows.train // schedule.global_batch) * schedule.num_train_epochs
        return min(steps, schedule.max_steps or steps)

    def bases(self, method: AnyMethod) -> Mapping[str, Step]:
        """The singular vectors of the base's weights, where the method trains between them."""
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(model=self.base, precision=self.precision, target_modules=method.target_modules)
        targets = (
            method.target_modules
            if isinstance(method.target_modules, str)
            else " ".join(method.target_modules)
        )
        return {BASES: Step(f"decompose {targets} for {self.name}", stage)}
