"""FlagEmbedding (BGE) training rows: JSON lines of ``query``, ``pos`` and ``neg`` (arXiv:2309.07597)."""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.pinned import expanded
from descant.data.rows import json_rows
from descant.data.texts import TextSource, TextTriple, passage_of, query_of, text_triple


class FlagEmbedding(TextSource):
    """``query`` (text), ``pos`` and ``neg`` (lists of texts; ``neg`` may be missing).

    Other columns (``prompt``, ``type``, ``pos_scores``, ``neg_scores``) are ignored: prompts are the
    recipe's.
    """

    kind: Literal["flagembedding"] = "flagembedding"

    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """One query per line, with all its passages."""
        for row in json_rows(expanded(self.path)):
            if isinstance(row, Rejected):
                yield row
                continue
            positives = tuple(map(passage_of, row.texts("pos")))
            negatives = tuple(map(passage_of, row.texts("neg"))) if "neg" in row.values else ()
            yield text_triple(row, query_of(row.text("query")), positives, negatives)
