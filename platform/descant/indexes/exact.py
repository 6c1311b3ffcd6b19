"""Exhaustive search: every query against every vector (faiss ``IndexFlatIP``), the same bits every time."""

from pathlib import Path
from typing import Literal

from descant.indexes.base import Content, Index
from descant.indexes.faiss_shard import FaissShard, checked_vectors, load_faiss, read
from descant.indexes.shard_files import Description


class Exact(Index):
    """Exhaustive inner-product search; the measure for every other kind."""

    kind: Literal["exact"] = "exact"
    """Which index this is."""

    def fit(self, content: Content, *, first_row: int = 0, shared: Path | None = None) -> FaissShard:
        """The vectors as they are; raises as ``checked_vectors``."""
        vectors_nd = checked_vectors(content, first_row=first_row)
        index = load_faiss().IndexFlatIP(vectors_nd.shape[1])
        index.add(vectors_nd)
        return FaissShard(index, first_row=first_row)

    def load(self, folder: Path, description: Description) -> FaissShard:
        """From the faiss file."""
        return FaissShard(read(folder), first_row=description.first_row)
