"""MS MARCO training triples (arXiv:1611.09268): query, positive and negative text, tab-separated."""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.pinned import expanded
from descant.data.rows import tab_rows
from descant.data.texts import TextSource, TextTriple, passage_of, query_of, text_triple


class MsMarcoTriples(TextSource):
    """``triples.train.tsv``: no header, no quoting; a query's rows are joined to one training row."""

    kind: Literal["msmarco_triples"] = "msmarco_triples"

    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """One query, positive and negative per line."""
        for row in tab_rows(expanded(self.path), ("query", "positive", "negative")):
            if isinstance(row, Rejected):
                yield row
                continue
            positive, negative = passage_of(row.text("positive")), passage_of(row.text("negative"))
            yield text_triple(row, query_of(row.text("query")), (positive,), (negative,))
