"""Retrieval data in which every query has one passage that answers it, split by files."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from descant.core.records import Judgement, Query, Rejected, Triple
from descant.data.source import RetrievalSource


class AnsweredQueries(RetrievalSource):
    """Queries with one passage each. The corpus holds the passages of all splits.

    A row that cannot be used comes out of ``queries`` as ``Rejected``, once; the other streams pass over it.
    """

    has_negatives: ClassVar[bool] = False

    @abstractmethod
    def answered(self, split: str) -> Iterator[tuple[Query, str] | Rejected]:
        """The queries of ``split`` in file order, each with the id of its passage."""

    def queries(self) -> Iterator[Query | Rejected]:
        """The queries of all splits."""
        for split in self.splits():
            yield from (row if isinstance(row, Rejected) else row[0] for row in self.answered(split))

    def judgements(self, split: str) -> Iterator[Judgement | Rejected]:
        """Each query's passage with grade 1."""
        self._require_split(split)
        for row in self.answered(split):
            if not isinstance(row, Rejected):
                yield Judgement(row[0].id, row[1], 1)

    def triples(self) -> Iterator[Triple | Rejected]:
        """Each query of the split ``train``, where there is one; no negatives."""
        for row in self.answered("train") if "train" in self.splits() else ():
            if not isinstance(row, Rejected):
                yield Triple(row[0].id, (row[1],), ())
