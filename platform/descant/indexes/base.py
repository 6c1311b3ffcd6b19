"""What every index promises.

An index is built and searched in shards, each from one part of the corpus and by its own process if wanted:

    spec.prepare(parts, shared)                               once, only where ``needs_preparation``
    spec.build_shard(part, folder, first_row=..., shared=...) once per part, in any process
    spec.open_shard(folder).search(queries, k)                in any process ...
    merge(answers, k)                                         ... and merged exactly
    spec.open(folders).search(queries, k)                     the same in one process

Content: vectors are float32 [n, d], unit length for cosine similarity; texts are a sequence of n strings. The
spec says which (``takes``), for rows and for queries.

Answers: float32 [q, k] scores and int64 [q, k] rows. Rows are global: the row within the part plus the
shard's ``first_row``. Best first, ties by lower row. A dense score is the inner product summed in float64 in
one fixed order and rounded once to float32, so a pair of vectors has the same score bits in every kind, batch
and shard.

Sharding: where ``same_for_any_sharding``, answers are equal, ties and last bits included, for any division of
the corpus into parts. Elsewhere (a graph depends on its shard) the merge is exact and the recall floor is
promised.

Errors: ConfigError ``E-IDX-K`` unless 1 <= k <= rows (only a single shard answers short, with min(k, its
rows) columns), ``E-IDX-SHORT`` when probed lists hold fewer than k; NumericsError ``E-IDX-NAN`` for NaN or
infinity, ``E-IDX-ZERO`` for a zero vector at build; IntegrityError ``E-IDX-DIM`` for another dimension,
``E-IDX-DIGEST``, ``E-IDX-FILES``, ``E-IDX-SPEC`` and ``E-IDX-SHARDS`` at opening; PolicyError
``E-IDX-PICKLE`` for a pickled file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np

from descant.core.errors import IntegrityError
from descant.core.spec import Spec
from descant.indexes.merge import Answer, check_k, merge
from descant.indexes.shard_files import Description, describe, verified

Content = np.ndarray | Sequence[str]
"""Vectors, float32 [n, d], or n texts."""


class Shard(Protocol):
    """An open shard, or a whole corpus held in memory."""

    first_row: int
    num_rows: int
    dim: int | None

    def search(self, queries: Content, k: int) -> Answer:
        """The best min(k, num_rows) of this shard for each query; k >= 1."""

    def save(self, folder: Path) -> None:
        """Write this shard's files, none of them pickled, into an existing folder."""


@dataclass(frozen=True)
class Searcher:
    """Shards that follow one another without a gap, searched as one index."""

    shards: tuple[Shard, ...]

    @property
    def num_rows(self) -> int:
        """Rows in all shards."""
        return sum(shard.num_rows for shard in self.shards)

    def search(self, queries: Content, k: int) -> Answer:
        """Exactly k results for each query; raises as the module's text says."""
        check_k(k, self.num_rows)
        return merge([shard.search(queries, k) for shard in self.shards], k)


class Index(Spec, ABC):
    """How a corpus is indexed. A subclass writes ``fit`` and ``load``; the rest is the same for all.

    ``takes``: what rows and queries are. ``needs_preparation``: shards share a state computed from all parts.
    ``same_for_any_sharding``: see the module's text. ``recall_floor``: the least recall@10 against exhaustive
    search on well-spread data, at default settings.
    """

    takes: ClassVar[Literal["vectors", "texts"]] = "vectors"
    needs_preparation: ClassVar[bool] = False
    same_for_any_sharding: ClassVar[bool] = True
    recall_floor: ClassVar[float] = 1.0

    @abstractmethod
    def fit(self, content: Content, *, first_row: int = 0, shared: Path | None = None) -> Shard:
        """A shard of ``content`` in memory; without ``shared``, ``content`` is taken for the whole corpus."""

    @abstractmethod
    def load(self, folder: Path, description: Description) -> Shard:
        """A shard from a folder that has been verified."""

    def prepare(self, parts: Iterable[Content], shared: Path) -> None:
        """Write what all shards share into the new folder ``shared``; parts are read once, in order.

        Nothing is written where ``needs_preparation`` is False.
        """

    def build_shard(
        self, content: Content, folder: Path, *, first_row: int = 0, shared: Path | None = None
    ) -> Shard:
        """Build the shard of one part and write it into the new folder ``folder``.

        ``first_row`` is the number of rows in all parts before this one.
        """
        shard = self.fit(content, first_row=first_row, shared=shared)
        folder.mkdir(parents=True)
        shard.save(folder)
        describe(folder, self, rows=shard.num_rows, first_row=first_row, dim=shard.dim)
        return shard

    def open_shard(self, folder: Path) -> Shard:
        """One shard for search, after every byte of it has been checked against its digests."""
        return self.load(folder, verified(folder, self))

    def open(self, folders: Sequence[Path]) -> Searcher:
        """All shards, in the order of their parts; IntegrityError when one is missing or out of place."""
        shards = tuple(self.open_shard(folder) for folder in folders)
        expected = 0
        for folder, shard in zip(folders, shards, strict=True):
            if shard.first_row != expected or shard.dim != shards[0].dim:
                raise IntegrityError(
                    "E-IDX-SHARDS",
                    str(folder),
                    f"starts at row {shard.first_row} with dimension {shard.dim}, expected row {expected} "
                    f"and dimension {shards[0].dim}",
                    "No result was returned. Give every shard of one build, in the order of its parts.",
                )
            expected += shard.num_rows
        return Searcher(shards)

    def build(self, parts: Sequence[Content], folder: Path) -> tuple[Path, ...]:
        """Prepare and build all shards in this process; their folders, ready for ``open``."""
        shared = folder / "shared" if self.needs_preparation else None
        if shared is not None:
            self.prepare(parts, shared)
        folders, first_row = [], 0
        for i, part in enumerate(parts):
            folders.append(folder / f"shard-{i:05d}")
            self.build_shard(part, folders[-1], first_row=first_row, shared=shared)
            first_row += len(part)
        return tuple(folders)
