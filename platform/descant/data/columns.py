"""Columns by order, as sentence-transformers reads them: anchor, positive, then any number of negatives.

Column names carry no meaning. The first row (or the header) fixes them for the whole file.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from descant.core.records import Rejected
from descant.data.pinned import expanded
from descant.data.rows import Row, column_error
from descant.data.tables import TableFormat, table_rows
from descant.data.texts import TextSource, TextTriple, passage_of, query_of, text_triple


class Columns(TextSource):
    """Two or more text columns. A null or missing negative is no negative; a blank one leaves the row out."""

    kind: Literal["columns"] = "columns"
    format: TableFormat
    """How the file is written; tsv (without quoting) and csv begin with a header."""

    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """One anchor per row."""
        names: tuple[str, ...] = ()
        for row in table_rows(expanded(self.path), self.format):
            if isinstance(row, Rejected):
                yield row
                continue
            names = names or _column_names(row)
            yield _triple(row, names)


def _column_names(first: Row) -> tuple[str, ...]:
    if len(first.values) < 2:
        found = f"found {len(first.values)} columns ({', '.join(first.values)})"
        raise column_error(first.where, f"{found}, expected anchor, positive, negatives")
    return tuple(first.values)


def _triple(row: Row, names: Sequence[str]) -> TextTriple | Rejected:
    unexpected = [name for name in row.values if name not in names]
    if unexpected:
        raise column_error(row.where, f"column '{unexpected[0]}' is not in the first row: {', '.join(names)}")
    negatives = tuple(passage_of(row.text(name)) for name in names[2:] if row.values.get(name) is not None)
    return text_triple(row, query_of(row.text(names[0])), (passage_of(row.text(names[1])),), negatives)
