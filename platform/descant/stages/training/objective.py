"""The seam between the training loop and what it trains.

The loop knows steps, saving, faults, stopping and logging. An objective knows rows, tokens, model and loss. A
training says what all workers need to make one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch

from descant.artifacts.commit import files_of
from descant.artifacts.mirror import fetch
from descant.core.fingerprint import file_digest, folder_digest
from descant.stages.training.settings import BatchPlan, Optimisation, TrainCompute

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class Training(ABC):
    """All that a worker needs. ``folder`` and ``rows`` must be seen by every worker."""

    rows: Path
    settings: Optimisation
    compute: TrainCompute
    folder: Path
    bases: Mapping[str, Path] = field(default_factory=dict)
    """Files of singular vectors by the sha256 of their weights, for methods that use them."""

    @abstractmethod
    def recipe(self) -> str:
        """Fingerprint of everything that changes numbers."""

    @abstractmethod
    def check(self) -> None:
        """Refuse, in the process that starts the training, what every worker would refuse."""

    @abstractmethod
    def objective(self) -> "Objective[Any]":
        """The objective of one worker, its model attached to; talks to no other worker."""

    @property
    def validate_every(self) -> int | None:
        """Steps between validations; none where it is not given."""
        return None

    def resolved(self) -> Self:
        """The same with absolute paths, for processes with another working directory."""
        return replace(self, rows=self.rows.resolve(), folder=self.folder.resolve())

    def rows_digest(self) -> str:
        """The sha256 of the files of ``rows``."""
        return folder_digest({name: file_digest(path) for name, path in files_of(fetch(self.rows)).items()})


@dataclass(frozen=True)
class Share:
    """What one micro-batch of one worker adds to a step.

    The loss of a step is the mean over workers of the sum of ``loss / over`` over a worker's micro-batches.
    ``outputs`` are what the loss was made of, each [rows * n, ...] in the order of ``row_ids``: they are looked
    through when something is not finite. ``tokens`` leave padding out.
    """

    row_ids: Sequence[str]
    loss: torch.Tensor
    over: float
    tokens: int
    outputs: Sequence[torch.Tensor]
    cut_rows: int = 0


class Objective(ABC, Generic[Batch]):
    """What one worker minimises, with ``num_steps`` steps of it.

    ``module`` holds the adapted base beside whatever else is trained, and is what DeepSpeed wraps: calls past
    the engine would leave every worker with gradients of its own. ``plan`` is the split of a step.
    """

    outputs: ClassVar[str] = "vectors"
    """What ``Share.outputs`` are called in an error."""

    module: torch.nn.Module
    plan: BatchPlan
    precision: str
    num_steps: int

    @abstractmethod
    def micro_batches(self, step: int) -> Sequence[Batch]:
        """This worker's micro-batches of a step, as many as every other worker has."""

    @abstractmethod
    def share(self, engine: Any, batch: Batch) -> Share:
        """A micro-batch through the engine."""

    def rates(self) -> Mapping[torch.nn.Parameter, float]:
        """The parameters whose peak learning rate is not that of the settings, and theirs."""
        return {}

    def starts(self) -> Mapping[torch.nn.Parameter, int]:
        """The parameters that stay as they are up to a step, and the step."""
        return {}

    @property
    def head_parameters(self) -> int:
        """How many parameters train beside the method's."""
        return 0

    @abstractmethod
    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write the trained tensors ``state`` of ``module`` into the training's ``folder`` and read them back.

        ``start`` holds ``tensor_digests`` of the untrained ones. Raises what ``save_adapter`` raises.
        """

    def validate(self, engine: Any) -> Mapping[str, float]:
        """Scores on the validation rows by name, the same on every worker; all must call this."""
        return {}
