"""Tevatron training rows (arXiv:2203.05765): with texts (v1), or with ids and a corpus (v2, v3)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data.pinned import expanded
from descant.data.rows import Row, json_rows, passage_or_rejected, query_or_rejected
from descant.data.source import RetrievalSource
from descant.data.texts import TextSource, TextTriple, text_triple
from descant.data.unique import unique


class TevatronTexts(TextSource):
    """v1: ``query_id``, ``query``, and ``positive_passages``, ``negative_passages`` of ``docid``, ``title``,
    ``text``.

    The file's own ids are kept, so one ``docid`` with two texts is refused.
    """

    kind: Literal["tevatron_v1"] = "tevatron_v1"

    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """One query per line, with all its passages."""
        for row in json_rows(expanded(self.path)):
            if isinstance(row, Rejected):
                yield row
                continue
            query = Query(row.identifier("query_id"), row.text("query"))
            positives = tuple(map(_inner_passage, row.records("positive_passages")))
            yield text_triple(
                row, query, positives, tuple(map(_inner_passage, row.records("negative_passages")))
            )


class Tevatron(RetrievalSource):
    """v2, v3: ``query_id``, ``query_text``, ``positive_document_ids``, ``negative_document_ids``, and a
    corpus.

    Each query stands on one line. Its positives are its judgements, with grade 1.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("path", "corpus")
    train_split: ClassVar[str] = "train"
    test_split: ClassVar[str | None] = None

    kind: Literal["tevatron"] = "tevatron"
    path: str
    """The JSON lines of training rows, plain or gzip; may start with ``${DESCANT_DATA}``."""
    corpus: str
    """The JSON lines of ``docid``, ``document_text`` and, if there is one, ``title``; plain or gzip."""

    def named_files(self) -> Mapping[str, Path]:
        """The training rows and the corpus."""
        return {"rows": expanded(self.path), "corpus": expanded(self.corpus)}

    def splits(self) -> tuple[str, ...]:
        """``train`` alone: there is nothing to evaluate on."""
        return (self.train_split,)

    def passages(self) -> Iterator[Passage | Rejected]:
        """The corpus."""
        return unique(json_rows(expanded(self.corpus)), _passage)

    def queries(self) -> Iterator[Query | Rejected]:
        """The queries of the training rows."""
        return unique(json_rows(expanded(self.path)), _query)

    def judgements(self, split: str) -> Iterator[Judgement | Rejected]:
        """Each positive with grade 1."""
        self._require_split(split)
        for triple in self.triples():
            if not isinstance(triple, Rejected):
                yield from (Judgement(triple.query_id, passage_id, 1) for passage_id in triple.positive_ids)

    def triples(self) -> Iterator[Triple | Rejected]:
        """The training rows; one without positives is left out as ``no_positive``."""
        for row in json_rows(expanded(self.path)):
            yield row if isinstance(row, Rejected) else _triple(row)


def _inner_passage(row: Row) -> Passage:
    return Passage(row.identifier("docid"), row.optional_text("title"), row.text("text"))


def _passage(row: Row) -> Passage | Rejected:
    return passage_or_rejected(
        row, Passage(row.identifier("docid"), row.optional_text("title"), row.text("document_text"))
    )


def _query(row: Row) -> Query | Rejected:
    return query_or_rejected(row, Query(row.identifier("query_id"), row.text("query_text")))


def _triple(row: Row) -> Triple | Rejected:
    query_id = row.identifier("query_id")
    positive_ids = tuple(dict.fromkeys(row.identifiers("positive_document_ids")))
    negative_ids = row.identifiers("negative_document_ids") if "negative_document_ids" in row.values else ()
    if not positive_ids:
        return row.rejected(query_id, "no_positive")
    negatives = dict.fromkeys(negative_id for negative_id in negative_ids if negative_id not in positive_ids)
    return Triple(query_id, positive_ids, tuple(negatives))
