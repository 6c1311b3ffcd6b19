"""The mean of a token's parts (arXiv:2406.14670, section 3.2), and the same with frequent parts counting less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.vocab.initialise.base import Initialiser, NewTokens, weighted_rows

if TYPE_CHECKING:
    from torch import Tensor


class Mean(Initialiser):
    """The mean of the rows of the base's tokens that the new one stands for."""

    kind: Literal["mean"] = "mean"
    """Mean."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """Every part counts alike."""
        return weighted_rows(old_vd, new.parts, [[1.0] * len(parts) for parts in new.parts])


class WeightedMean(Initialiser):
    """As mean, each part weighted by a / (a + p), p its share in the language's texts (Arora et al., ICLR 2017)."""

    kind: Literal["weighted_mean"] = "weighted_mean"
    """Weighted mean."""
    a: float = Field(1e-3, gt=0)
    """Share at which a part counts half."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """Frequent parts, which say little, count less."""
        weights = [
            [self.a / (self.a + new.frequencies.get(one, 0.0)) for one in parts] for parts in new.parts
        ]
        return weighted_rows(old_vd, new.parts, weights)
