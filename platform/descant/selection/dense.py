"""Examples whose queries lie near the target's in an encoder's space (KATE, arXiv:2101.06804)."""

from typing import ClassVar, Literal

import numpy as np

from descant.core.errors import ConfigError
from descant.indexes import Exact
from descant.selection.base import ExamplePool, Fitted, Selector, Targets
from descant.selection.similar import MostSimilar


class Dense(Selector):
    """The rows whose queries have the largest inner product; vectors come with the pool and the targets."""

    needs_vectors: ClassVar[bool] = True

    kind: Literal["dense"] = "dense"
    """Which selector this is."""

    def fit(self, pool: ExamplePool) -> Fitted:
        """An exhaustive index over the pool's vectors; ConfigError (``E-SEL-VECTORS``) without vectors."""
        return MostSimilar(pool, Exact().fit(_given(pool.vectors, "pool")), _vectors)


def _vectors(targets: Targets, which: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = _given(targets.vectors, "targets")[which]
    return chosen


def _given(vectors: np.ndarray | None, name: str) -> np.ndarray:
    if vectors is None:
        problem = "the dense selector compares encoded queries, and none were given"
        raise ConfigError(
            "E-SEL-VECTORS", name, problem, "Nothing was selected. Name an encoder for the selector."
        )
    return vectors
