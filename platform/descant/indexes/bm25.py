"""Search by shared words: BM25 in Lucene's form, all weights computed ahead (``bm25s``, arXiv:2407.03618)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.indexes.base import Content, Index
from descant.indexes.shard_files import Description, describe, verified

if TYPE_CHECKING:
    from descant.indexes.bm25_shard import Bm25Shard


class Bm25(Index):
    """BM25 over words, with document frequencies and average length of the whole corpus in every shard.

    A word is a longest run of letters, digits and underscores (``\\w+``) of the lower-cased text. There is no
    stemming. Scripts that write vowels as combining signs (Devanagari, Tamil) are cut at these signs.
    """

    takes: ClassVar[Literal["vectors", "texts"]] = "texts"
    needs_preparation: ClassVar[bool] = True

    kind: Literal["bm25"] = "bm25"
    """Which index this is."""
    k1: float = Field(0.9, ge=0)
    """How slowly repeated words saturate; Pyserini's default, which RARe (arXiv:2410.20088) used."""
    b: float = Field(0.4, ge=0, le=1)
    """How much long texts are held back; Pyserini's default."""
    stop_words: Literal["none", "english"] = "none"
    """Words that are left out: none, or the English list of bm25s."""

    def prepare(self, parts: Iterable[Content], shared: Path) -> None:
        """Count documents, words and the documents of each word over all parts."""
        from descant.indexes.bm25_shard import Statistics, tokenise

        statistics = Statistics.of(tokenise(part, self.stop_words) for part in parts)
        shared.mkdir(parents=True)
        statistics.save(shared)
        describe(shared, self, rows=statistics.num_documents, first_row=0, dim=None)

    def fit(self, content: Content, *, first_row: int = 0, shared: Path | None = None) -> Bm25Shard:
        """The weights of the texts' words."""
        from descant.indexes.bm25_shard import Bm25Shard, Statistics, tokenise

        tokens = tokenise(content, self.stop_words)
        if shared is None:
            statistics = Statistics.of([tokens])
        else:
            verified(shared, self)
            statistics = Statistics.load(shared)
        return Bm25Shard.of(tokens, statistics, self, first_row=first_row)

    def load(self, folder: Path, description: Description) -> Bm25Shard:
        """From the files of ``bm25s``."""
        from descant.indexes.bm25_shard import Bm25Shard

        return Bm25Shard.load(folder, self.stop_words, first_row=description.first_row)
