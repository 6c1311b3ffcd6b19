"""Selection by search: the pool is an index, a target's examples are its best rows that it may be shown."""

from collections.abc import Callable

import numpy as np

from descant.indexes import Content, Shard
from descant.selection.base import ExamplePool, Excluded, Fitted, Targets


class MostSimilar(Fitted):
    """The pool as a shard; ``content`` gives the texts or vectors of some targets, by number."""

    def __init__(
        self, pool: ExamplePool, shard: Shard, content: Callable[[Targets, np.ndarray], Content]
    ) -> None:
        super().__init__(pool)
        self.shard = shard
        self.content = content

    def ranked(self, targets: Targets, excluded: Excluded, k: int) -> np.ndarray:
        """The full ranking without the excluded rows, cut at k.

        Of the first k + m rows at most m are excluded, so one search that is m wider is always enough;
        targets are searched together by powers of two of m.
        """
        rows = np.empty((len(targets.ids), k), np.int64)
        widths = np.minimum(k + _power_of_two(excluded.counts), len(self.pool.ids))
        for width in np.unique(widths):
            which = np.flatnonzero(widths == width)
            found = self.shard.search(self.content(targets, which), int(width)).rows
            rows[which] = _first_eligible(found, which, excluded, k)
        return rows


def _power_of_two(counts: np.ndarray) -> np.ndarray:
    """The next power of two for each count; 0 stays 0."""
    return np.where(counts > 0, 2 ** np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64), 0)


def _first_eligible(found: np.ndarray, which: np.ndarray, excluded: Excluded, k: int) -> np.ndarray:
    """The first k of each line of ``found`` (rows of target ``which[i]``) that are not excluded."""
    owners = np.repeat(np.arange(len(excluded.counts)), excluded.counts)
    stride = int(max(found.max(initial=0), excluded.rows.max(initial=0))) + 1
    is_excluded = np.isin(which[:, None] * stride + found, owners * stride + excluded.rows)
    eligible_first = np.argsort(is_excluded, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, eligible_first, axis=1)
