"""A shard of texts: a ``bm25s`` index whose weights know the whole corpus, searched for all queries at once.

``bm25s`` scores query by query and leaves equal scores in no order; here a block of queries is one sparse
product and ties go by row. Scores are equal to those of ``bm25s`` to the last bit: float32, added up in the
order of the query's words, so that words a shard does not know change nothing.

Legend: q queries, n texts of the shard, v words of the shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import bm25s
import numpy as np
import scipy.sparse as sp

from descant.core.errors import DataError
from descant.indexes.base import Content
from descant.indexes.merge import Answer, top_k

if TYPE_CHECKING:
    from descant.indexes.bm25 import Bm25

WORD = r"(?u)\w+"
FILE = "statistics.json"
_BLOCK = 1 << 16  # scores held at once: 256 KiB, which stay in the cache


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts as numbers of words: ``words`` int64, text after text; ``lengths`` int64 [texts]."""

    words: np.ndarray
    lengths: np.ndarray
    vocabulary: dict[str, int]

    @property
    def owners(self) -> np.ndarray:
        """The text that each word stands in."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def counts(self) -> sp.csc_array:
        """float32 [texts, vocabulary]: how often each word stands in each text."""
        shape = (len(self.lengths), len(self.vocabulary))
        ones = np.ones(len(self.words), np.float32)
        return sp.csc_array((ones, (self.owners, self.words)), shape=shape)


@dataclass(frozen=True)
class Statistics:
    """What BM25 must know about the whole corpus."""

    num_documents: int
    num_words: int
    document_frequency: dict[str, int]

    @classmethod
    def of(cls, parts: Iterable[Tokens]) -> Self:
        """Counted over all parts; their division and order do not matter."""
        num_documents = num_words = 0
        frequency: dict[str, int] = {}
        for part in parts:
            num_documents += len(part.lengths)
            num_words += len(part.words)
            for word, count in zip(part.vocabulary, np.diff(part.counts().indptr).tolist(), strict=True):
                frequency[word] = frequency.get(word, 0) + count
        return cls(num_documents, num_words, frequency)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From a verified folder."""
        return cls(**json.loads((folder / FILE).read_text("utf-8")))

    def save(self, folder: Path) -> None:
        """Write one JSON file, with words in sorted order."""
        (folder / FILE).write_text(json.dumps(vars(self), sort_keys=True), "utf-8")


class Bm25Shard:
    """Texts, open for search."""

    dim: int | None = None

    def __init__(self, model: bm25s.BM25, stop_words: str, *, first_row: int) -> None:
        self.model = model
        self.stop_words = stop_words
        self.first_row = first_row
        self.num_rows: int = model.scores["num_docs"]

    @classmethod
    def of(cls, tokens: Tokens, statistics: Statistics, spec: Bm25, *, first_row: int) -> Self:
        """The weight of every word in every text: idf tf / (k1 (1 - b + b length / average length) + tf)."""
        weights = tokens.counts()
        frequency_v = np.array(
            [statistics.document_frequency[word] for word in tokens.vocabulary], np.float64
        )
        idf_v = np.log(1 + (statistics.num_documents - frequency_v + 0.5) / (frequency_v + 0.5))
        average = max(statistics.num_words, 1) / max(statistics.num_documents, 1)
        held_back_n = spec.k1 * (1 - spec.b + spec.b * tokens.lengths / average)
        tf = weights.data
        idf = np.repeat(idf_v.astype(np.float32), np.diff(weights.indptr))
        data = (idf * (tf / (held_back_n[weights.indices] + tf))).astype(np.float32)
        model = bm25s.BM25(k1=spec.k1, b=spec.b, method="lucene")
        model.scores = {
            "data": data,
            "indices": weights.indices,
            "indptr": weights.indptr,
            "num_docs": len(tokens.lengths),
        }
        model.nonoccurrence_array = None  # part of other forms of BM25
        model.vocab_dict = tokens.vocabulary
        return cls(model, spec.stop_words, first_row=first_row)

    @classmethod
    def load(cls, folder: Path, stop_words: str, *, first_row: int) -> Self:
        """From a verified folder."""
        model = bm25s.BM25.load(folder, load_corpus=False, allow_pickle=False, show_progress=False)
        return cls(model, stop_words, first_row=first_row)

    def save(self, folder: Path) -> None:
        """Write the files of ``bm25s``, which can read the folder too."""
        self.model.save(folder, allow_pickle=False, show_progress=False)

    def search(self, queries: Content, k: int) -> Answer:
        """As ``Shard.search``; a text without any of the query's words scores 0."""
        k = min(k, self.num_rows)
        found = self._known(tokenise(queries, self.stop_words))
        weights_vn = self._weights()
        ends = np.concatenate([[0], np.cumsum(found.lengths)])
        step = max(1, _BLOCK // max(1, self.num_rows))
        answers = [top_k(np.empty((0, self.num_rows), np.float32), k)]
        for start in range(0, len(found.lengths), step):
            stop = min(start + step, len(found.lengths))
            words = found.words[ends[start] : ends[stop]]
            rows = ends[start : stop + 1] - ends[start]
            counts_qv = sp.csr_array(
                (np.ones(len(words), np.float32), words, rows), shape=(stop - start, weights_vn.shape[0])
            )
            answers.append(top_k((counts_qv @ weights_vn).toarray(), k))
        scores, rows = (np.concatenate(columns) for columns in zip(*answers, strict=True))
        return Answer(scores, rows + self.first_row)

    def _weights(self) -> Any:
        stored = self.model.scores
        shape = (self.num_rows, len(stored["indptr"]) - 1)
        return sp.csc_array((stored["data"], stored["indices"], stored["indptr"]), shape=shape).T

    def _known(self, queries: Tokens) -> Tokens:
        """The same queries in this shard's numbers, without words that it does not hold."""
        vocabulary = self.model.vocab_dict
        number_of = np.array([vocabulary.get(word, -1) for word in queries.vocabulary], np.int64)
        words = number_of[queries.words]
        known = words >= 0
        lengths = np.bincount(queries.owners[known], minlength=len(queries.lengths))
        return Tokens(words[known], lengths, vocabulary)


def tokenise(texts: Content, stop_words: str) -> Tokens:
    """Lower-cased words of each text, in order; raises DataError for anything but texts."""
    if isinstance(texts, np.ndarray | str):
        raise DataError(
            "E-IDX-SHAPE",
            "texts",
            f"{type(texts).__name__}, expected a sequence of texts",
            "Nothing was indexed or searched.",
        )
    left_out = "english" if stop_words == "english" else []
    ids, vocabulary = bm25s.tokenize(list(texts), token_pattern=WORD, stopwords=left_out, show_progress=False)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    words = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
    return Tokens(words, lengths, vocabulary)
