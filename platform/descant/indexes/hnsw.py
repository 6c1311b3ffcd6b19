"""Search along a graph of near neighbours (HNSW, arXiv:1603.09320; faiss ``IndexHNSWFlat``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from descant.indexes.base import Content, Index
from descant.indexes.faiss_shard import FaissShard, checked_vectors, inner_products, load_faiss, read
from descant.indexes.merge import Answer, best
from descant.indexes.shard_files import Description


class Hnsw(Index):
    """Approximate search, fast without any training.

    A graph depends on the rows that are in it, so another division into shards may find other rows: the merge
    of the shards' answers is exact, the scores are, and the recall floor is promised for each.
    """

    same_for_any_sharding: ClassVar[bool] = False
    recall_floor: ClassVar[float] = 0.95

    kind: Literal["hnsw"] = "hnsw"
    """Which index this is."""
    m: int = Field(32, ge=2)
    """Links of a row to its neighbours on each layer (the paper's M); twice as many on the lowest."""
    ef_construction: int = Field(200, ge=1)
    """Candidates kept while a row is linked in."""
    ef_search: int = Field(128, ge=1)
    """Candidates kept while searching; at least k."""

    def fit(self, content: Content, *, first_row: int = 0, shared: Path | None = None) -> HnswShard:
        """The graph of the vectors, linked in by row; raises as ``checked_vectors``."""
        faiss = load_faiss()
        vectors_nd = checked_vectors(content, first_row=first_row)
        index = faiss.IndexHNSWFlat(vectors_nd.shape[1], self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.add(vectors_nd)
        return HnswShard(index, first_row=first_row, ef_search=self.ef_search)

    def load(self, folder: Path, description: Description) -> HnswShard:
        """From the faiss file."""
        return HnswShard(read(folder), first_row=description.first_row, ef_search=self.ef_search)


class HnswShard(FaissShard):
    """A graph over the rows."""

    def __init__(self, index: Any, *, first_row: int, ef_search: int) -> None:
        super().__init__(index, first_row=first_row)
        self.ef_search = ef_search

    def nearest(self, queries_qd: np.ndarray, k: int) -> Answer:
        """The k best rows that the graph leads to.

        A query for which it leads to fewer than k (rows cut off by many equal ones) is answered exhaustively.
        """
        faiss = load_faiss()
        settings = faiss.SearchParametersHNSW(efSearch=max(self.ef_search, k))
        _, found = self.index.search(queries_qd, k, params=settings)
        answer = best(inner_products(self.index, queries_qd, found), found, k)
        short = np.flatnonzero(answer.rows[:, -1] < 0)
        if short.size:
            every_row = FaissShard(faiss.downcast_index(self.index.storage))
            answer.scores[short], answer.rows[short] = every_row.nearest(queries_qd[short], k)
        return answer
