"""Indexes: the table of them."""

from typing import Annotated, Union

from pydantic import Field

from descant.indexes.base import Content, Index, Searcher, Shard
from descant.indexes.bm25 import Bm25
from descant.indexes.exact import Exact
from descant.indexes.hnsw import Hnsw
from descant.indexes.ivf import Ivf
from descant.indexes.merge import Answer, merge

INDEXES = (Exact, Hnsw, Ivf, Bm25)
AnyIndex = Annotated[Union[Exact, Hnsw, Ivf, Bm25], Field(discriminator="kind")]  # noqa: UP007
"""Any index, told apart by ``kind``."""

__all__ = [
    "INDEXES",
    "Answer",
    "AnyIndex",
    "Bm25",
    "Content",
    "Exact",
    "Hnsw",
    "Index",
    "Ivf",
    "Searcher",
    "Shard",
    "merge",
]
