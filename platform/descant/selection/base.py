"""What every selector of in-context examples promises.

``select`` gives int64 [targets, k] rows of the pool: exactly k, distinct, the most similar last (next to the
target in the prompt). Never a target's own row - told by id, not by text - and never a row with a passage
that is judged relevant for the target: its text would hold the answer. A target's examples do not depend on
the other targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import numpy as np

from descant.core.errors import ConfigError, DataError
from descant.core.spec import Spec


@dataclass(frozen=True, eq=False)
class ExamplePool:
    """The rows that examples are chosen from: all columns have one entry for each, ``ids`` are unique.

    ``passage_ids`` are the relevant passages of each row's query. ``vectors``, float32 [rows, dim] of unit
    length, are the encoded queries; only selectors that say ``needs_vectors`` read them.
    """

    ids: tuple[str, ...]
    queries: tuple[str, ...]
    passage_ids: tuple[tuple[str, ...], ...]
    vectors: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_columns("pool", self.ids, self.queries, self.passage_ids, self.vectors)


@dataclass(frozen=True, eq=False)
class Targets:
    """The queries that examples are chosen for.

    ``relevant`` are the passages judged relevant for each; an empty set turns the leak filter off for a
    target. ``vectors`` as in ``ExamplePool``, from the same encoder.
    """

    ids: tuple[str, ...]
    queries: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]
    vectors: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_columns("targets", self.ids, self.queries, self.relevant, self.vectors)


@dataclass(frozen=True, eq=False)
class Excluded:
    """The pool rows that each target may not get: ``rows[starts[t]:starts[t + 1]]``, sorted and distinct."""

    rows: np.ndarray
    starts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """int64 [targets]: how many rows each target may not get."""
        return np.diff(self.starts)

    def of(self, target: int) -> np.ndarray:
        """The excluded rows of one target."""
        return self.rows[self.starts[target] : self.starts[target + 1]]


class Fitted(ABC):
    """A selector over one pool; a subclass says how rows are ranked."""

    def __init__(self, pool: ExamplePool) -> None:
        self.pool = pool
        self._row_of = {row_id: row for row, row_id in enumerate(pool.ids)}
        self._rows_with: dict[str, list[int]] = defaultdict(list)
        for row, passage_ids in enumerate(pool.passage_ids):
            for passage_id in passage_ids:
                self._rows_with[passage_id].append(row)

    @abstractmethod
    def ranked(self, targets: Targets, excluded: Excluded, k: int) -> np.ndarray:
        """int64 [targets, k]: the k best rows that are not excluded, most similar first; k >= 1 are left."""

    def select(self, targets: Targets, k: int) -> np.ndarray:
        """The rows as the module's text promises.

        Raises ConfigError (``E-SEL-K``) for k < 0, DataError (``E-SEL-POOL``) when a target has fewer than k
        rows left.
        """
        if k < 0:
            raise ConfigError(
                "E-SEL-K", f"k = {k}", "expected at least 0", "Nothing was selected. Correct k."
            )
        excluded = self.excluded(targets)
        self._check_enough(targets, excluded, k)
        if k == 0 or not targets.ids:
            return np.empty((len(targets.ids), k), np.int64)
        return np.ascontiguousarray(self.ranked(targets, excluded, k)[:, ::-1])

    def excluded(self, targets: Targets) -> Excluded:
        """Each target's own row, and the rows with a passage that is relevant for it."""
        rows_of: list[list[int]] = []
        for target_id, relevant in zip(targets.ids, targets.relevant, strict=True):
            barred = {row for passage_id in relevant for row in self._rows_with.get(passage_id, ())}
            if target_id in self._row_of:
                barred.add(self._row_of[target_id])
            rows_of.append(sorted(barred))
        rows = np.fromiter(chain.from_iterable(rows_of), np.int64)
        return Excluded(rows, np.cumsum([0, *map(len, rows_of)], dtype=np.int64))

    def _check_enough(self, targets: Targets, excluded: Excluded, k: int) -> None:
        left = len(self.pool.ids) - excluded.counts
        short = np.flatnonzero(left < k)
        if short.size:
            raise DataError(
                "E-SEL-POOL",
                f"target {targets.ids[short[0]]}",
                f"the pool has {len(self.pool.ids)} rows, {left[short[0]]} of them may be shown to it, "
                f"k = {k} were asked ({short.size} targets are short)",
                "Nothing was selected. Lower k, or choose from a larger pool.",
            )


class Selector(Spec, ABC):
    """How examples are chosen. ``needs_vectors``: pool and targets must come with their encoded queries."""

    needs_vectors: ClassVar[bool] = False

    @abstractmethod
    def fit(self, pool: ExamplePool) -> Fitted:
        """This selector over ``pool``."""


def _check_columns(
    name: str,
    ids: Sequence[str],
    queries: Sequence[str],
    passages: Sequence[object],
    vectors: np.ndarray | None,
) -> None:
    lengths = {"ids": len(ids), "queries": len(queries), "passages": len(passages)}
    if vectors is not None:
        lengths["vectors"] = len(vectors)
    if len(set(lengths.values())) > 1:
        raise DataError(
            "E-SEL-COLUMNS",
            name,
            f"columns of unequal length: {lengths}",
            "Nothing was selected. Join them by id.",
        )
    twice = [row_id for row_id, count in Counter(ids).items() if count > 1]
    if twice:
        problem = f"the id {twice[0]!r} stands more than once ({len(twice)} such ids), expected unique ids"
        raise DataError("E-SEL-COLUMNS", name, problem, "Nothing was selected. Keep one row for each id.")
