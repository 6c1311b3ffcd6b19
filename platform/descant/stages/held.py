"""What a process of a step holds in memory: a model, what trains on it, and the rows that it reads at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from descant.models.causal import CausalSpec

if TYPE_CHECKING:
    from descant.adapters import AnyMethod
    from descant.artifacts.models import AnyModel
    from descant.models.classifier import ClassifierSpec
    from descant.models.encoder import Precision
    from descant.models.skeleton import Head

Rows = tuple[tuple[int, int], ...]
"""What is kept at once: numbers of rows, and the most tokens of each."""


@dataclass(frozen=True)
class Held:
    """A model in memory."""

    model: AnyModel
    """Which."""
    precision: Precision
    """The number format of its weights."""
    rows: Rows
    """What it reads."""
    head: Head = "none"
    """What makes tokens of its states."""
    trains: AnyMethod | None = None
    """How it is adapted, where it trains."""


def held_for_task(model: ClassifierSpec | CausalSpec, rows: Rows, trains: AnyMethod | None = None) -> Held:
    """A classifier, whose head is small, or a language model."""
    head: Head = "next token" if isinstance(model, CausalSpec) else "none"
    return Held(model.model, model.precision, rows, head=head, trains=trains)


def rows_within(tokens_per_batch: int, longest: int) -> Rows:
    """A batch of rows of the ``longest`` tokens."""
    return ((max(1, tokens_per_batch // longest), longest),)
