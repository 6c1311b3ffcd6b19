"""Columns by order, as sentence-transformers reads them: anchor, positive, then any number of negatives.

Column names carry no meaning. The first row (or the header) fixes them for the whole file.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from descant.core.errors import DataError, PolicyError
from descant.core.records import Rejected
from descant.data.lines import MAX_LINE_BYTES, rejected_line, text_lines
from descant.data.rows import Row, column_error, json_rows, non_empty, tab_fields
from descant.data.source import expanded
from descant.data.texts import TextSource, TextTriple, passage_of, query_of, text_triple

if TYPE_CHECKING:
    import pyarrow


class Columns(TextSource):
    """Two or more text columns. A null or missing negative is no negative; a blank one leaves the row out."""

    kind: Literal["columns"] = "columns"
    format: Literal["jsonl", "tsv", "csv", "parquet"]
    """How the file is written; tsv (without quoting) and csv begin with a header."""

    def training_rows(self) -> Iterator[TextTriple | Rejected]:
        """One anchor per row."""
        read = {"jsonl": json_rows, "tsv": _tab_rows, "csv": _csv_rows, "parquet": _parquet_rows}[self.format]
        names: tuple[str, ...] = ()
        for row in read(expanded(self.path)):
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


def _named(path: Path, line: int, names: Sequence[str], fields: Sequence[str]) -> Row | Rejected:
    if len(fields) != len(names):
        return rejected_line(path, line, "wrong_columns")
    return Row(path, line, dict(zip(names, fields, strict=True)))


def _tab_rows(path: Path) -> Iterator[Row | Rejected]:
    names: list[str] = []

    def rows() -> Iterator[Row | Rejected]:
        nonlocal names
        for line in text_lines(path):
            if isinstance(line, Rejected):
                yield line
            elif not names:
                names = tab_fields(line[1])
            elif line[1].strip("\r\n"):
                yield _named(path, line[0], names, tab_fields(line[1]))

    return non_empty(path, rows())


def _csv_rows(path: Path) -> Iterator[Row | Rejected]:
    """RFC 4180 rows; a field may span lines, so a damaged line cannot be left out and raises DataError."""

    def texts() -> Iterator[str]:
        for line in text_lines(path):
            if isinstance(line, Rejected):
                raise _csv_error(
                    f"{path.parent / line.where}",
                    f"{line.reason}; a row may span lines, so it cannot be left out",
                )
            yield line[1]

    def rows() -> Iterator[Row | Rejected]:
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(texts(), strict=True)
        try:
            names = next(reader, [])
            for fields in reader:
                if fields:
                    yield _named(path, reader.line_num, names, fields)
        except csv.Error as error:
            raise _csv_error(f"{path}:{reader.line_num}", str(error)) from None

    return non_empty(path, rows())


def _csv_error(where: str, problem: str) -> DataError:
    return DataError("E-DATA-CSV", where, problem, "Nothing was kept. Correct the file.")


def _parquet_rows(path: Path) -> Iterator[Row | Rejected]:
    return non_empty(path, _batched_rows(path))


def _batched_rows(path: Path) -> Iterator[Row | Rejected]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            line = 0
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    line += 1
                    yield Row(path, line, values)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise DataError(
            "E-DATA-PARQUET", str(path), f"not readable as Parquet ({error})", "Fetch it again."
        ) from None


def _check_schema(path: Path, schema: "pyarrow.Schema") -> None:
    """Plain text columns only: an extension type may run code when it is read (a pickled object, for one)."""
    import pyarrow as pa

    for field in schema:
        extension = (field.metadata or {}).get(b"ARROW:extension:name")
        if isinstance(field.type, pa.BaseExtensionType) or extension:
            raise PolicyError(
                "E-DATA-EXTENSION",
                str(path),
                f"column '{field.name}': found extension type {extension or field.type}, expected string",
                "Nothing was read. Write the column as plain strings.",
            )
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            raise DataError(
                "E-DATA-TYPE",
                str(path),
                f"column '{field.name}': found {field.type}, expected string",
                "Nothing was read. Write the column as strings, or drop it.",
            )
