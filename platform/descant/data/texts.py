"""Training files that carry texts: a row is a query with its positive and its negative passages.

The corpus is the set of all passages in the file. Where a layout has no ids of its own they are made from the
content, so equal texts are one passage, in any order, on any machine.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data.pinned import expanded
from descant.data.rows import Row
from descant.data.source import RetrievalSource
from descant.data.unique import FirstSeen, content


@dataclass(frozen=True, slots=True)
class TextTriple:
    """A training row with its texts; ``row`` is where it stands."""

    row: Row
    query: Query
    positives: tuple[Passage, ...]
    negatives: tuple[Passage, ...]


class TextSource(RetrievalSource):
    """One file of training rows with texts. Its positives are its judgements, with grade 1.

    A row that cannot be used comes out of ``passages`` as ``Rejected``, once; the other streams pass over it.
    """

    train_split: ClassVar[str] = "train"
    test_split: ClassVar[str | None] = None

    path: str
    """The file, plain or gzip; may start with ``${DESCANT_DATA}``."""

    @abstractmethod
    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """The rows in file order."""

    def named_files(self) -> Mapping[str, Path]:
        """The one file."""
        return {"rows": expanded(self.path)}

    def splits(self) -> tuple[str, ...]:
        """``train`` alone: there is nothing to evaluate on."""
        return (self.train_split,)

    def check(self) -> None:
        """Read the first row. Raises as every source does."""
        self.require_files()
        next(self.training_rows(), None)

    def passages(self) -> Iterator[Passage | Rejected]:
        """Every passage once, positives before negatives within a row, and the rows that were left out."""
        seen = FirstSeen()
        for item in self.training_rows():
            if isinstance(item, Rejected):
                yield item
                continue
            for passage in (*item.positives, *item.negatives):
                if seen.add(item.row, passage.id, content(passage)):
                    yield passage
        seen.refuse_conflicts()

    def queries(self) -> Iterator[Query | Rejected]:
        """Every query once."""
        seen = FirstSeen()
        for item in self._usable_rows():
            if seen.add(item.row, item.query.id, content(item.query)):
                yield item.query
        seen.refuse_conflicts()

    def judgements(self, split: str) -> Iterator[Judgement | Rejected]:
        """Each positive with grade 1."""
        self._require_split(split)
        for triple in self.triples():
            if not isinstance(triple, Rejected):
                yield from (Judgement(triple.query_id, passage_id, 1) for passage_id in triple.positive_ids)

    def triples(self) -> Iterator[Triple | Rejected]:
        """One training row per query: its rows are joined, and a positive is never among the negatives."""
        positives: dict[str, dict[str, None]] = {}
        negatives: dict[str, dict[str, None]] = {}
        for item in self._usable_rows():
            positives.setdefault(item.query.id, {}).update((passage.id, None) for passage in item.positives)
            negatives.setdefault(item.query.id, {}).update((passage.id, None) for passage in item.negatives)
        for query_id, positive_ids in positives.items():
            kept = tuple(
                negative_id for negative_id in negatives[query_id] if negative_id not in positive_ids
            )
            yield Triple(query_id, tuple(positive_ids), kept)

    def _usable_rows(self) -> Iterator[TextTriple]:
        return (item for item in self.training_rows() if not isinstance(item, Rejected))


def text_triple(
    row: Row, query: Query, positives: tuple[Passage, ...], negatives: tuple[Passage, ...]
) -> TextTriple | Rejected:
    """A training row; left out as ``empty_text`` for any blank text, as ``no_positive`` without positives."""
    texts = (query.text, *(passage.full_text for passage in (*positives, *negatives)))
    if not all(text.strip() for text in texts):
        return row.rejected(query.id, "empty_text")
    if not positives:
        return row.rejected(query.id, "no_positive")
    return TextTriple(row, query, positives, negatives)


def query_of(text: str) -> Query:
    """A query whose id is made from its text."""
    return Query(f"q-{_short_digest(text)}", text)


def passage_of(text: str) -> Passage:
    """A passage without title whose id is made from its content."""
    return Passage(f"p-{_short_digest(chr(31) + text)}", "", text)


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
