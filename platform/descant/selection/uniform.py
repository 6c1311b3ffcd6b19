"""Random examples, the control that similarity has to beat (RARe, arXiv:2410.20088, section 5)."""

from typing import Literal

import numpy as np
from pydantic import Field

from descant.core.seeds import seed_for
from descant.selection.base import ExamplePool, Excluded, Fitted, Selector, Targets


class Uniform(Selector):
    """Every row that a target may be shown is equally likely; a draw depends on seed, target id and pool."""

    kind: Literal["uniform"] = "uniform"
    """Which selector this is."""
    seed: int = Field(0, ge=0)
    """Seed of all draws."""

    def fit(self, pool: ExamplePool) -> Fitted:
        """Draws from ``pool``."""
        return _Draws(pool, self.seed)


class _Draws(Fitted):
    def __init__(self, pool: ExamplePool, seed: int) -> None:
        super().__init__(pool)
        self.seed = seed

    def ranked(self, targets: Targets, excluded: Excluded, k: int) -> np.ndarray:
        """k of the rows that are left, in drawn order."""
        rows = np.empty((len(targets.ids), k), np.int64)
        for i, target_id in enumerate(targets.ids):
            generator = np.random.default_rng(seed_for(self.seed, "examples", target_id))
            left_out = excluded.of(i)
            rows[i] = generator.choice(len(self.pool.ids) - len(left_out), size=k, replace=False)
            for row in left_out:  # from a place among the rows that are left to a row of the pool
                rows[i] += rows[i] >= row
        return rows
