"""Files with named columns, row by row: JSON lines, tab-separated, CSV and Parquet."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from descant.core.errors import DataError, PolicyError
from descant.core.records import Rejected
from descant.data.lines import MAX_LINE_BYTES, rejected_line, text_lines
from descant.data.rows import Row, json_rows, non_empty, tab_fields

if TYPE_CHECKING:
    import pyarrow

TableFormat = Literal["jsonl", "tsv", "csv", "parquet"]
"""How a file is written; tsv (without quoting) and csv begin with a header."""


def table_rows(
    path: Path, format: TableFormat, columns: Sequence[str] | None = None
) -> Iterator[Row | Rejected]:
    """The rows of ``path``.

    Of Parquet only ``columns`` are read, with any plain type (strings, numbers, bytes, lists and structs of them);
    without ``columns`` all of them, and they must be strings. Damaged lines come out as ``Rejected``. Raises
    DataError for a file without rows and for one that is not of its format, PolicyError for Parquet columns of an
    extension type.
    """
    if format == "parquet":
        return non_empty(path, _batched_rows(path, columns))
    return {"jsonl": json_rows, "tsv": _tab_rows, "csv": _csv_rows}[format](path)


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


def _batched_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row | Rejected]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow, columns)
            line = 0
            for batch in file.iter_batches(batch_size=1024, columns=columns and list(columns)):
                for values in batch.to_pylist():
                    line += 1
                    yield Row(path, line, values)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise DataError(
            "E-DATA-PARQUET", str(path), f"not readable as Parquet ({error})", "Fetch it again."
        ) from None


def _check_schema(path: Path, schema: "pyarrow.Schema", columns: Sequence[str] | None) -> None:
    """Plain types only: an extension type may run code when it is read (a pickled object, for one)."""
    import pyarrow as pa

    for field in schema:
        if columns is not None and field.name not in columns:
            continue
        extension = (field.metadata or {}).get(b"ARROW:extension:name")
        if isinstance(field.type, pa.BaseExtensionType) or extension:
            raise PolicyError(
                "E-DATA-EXTENSION",
                str(path),
                f"column '{field.name}': found extension type {extension or field.type}, expected a plain type",
                "Nothing was read. Write the column as strings, numbers or bytes.",
            )
        if columns is None and not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            raise DataError(
                "E-DATA-TYPE",
                str(path),
                f"column '{field.name}': found {field.type}, expected string",
                "Nothing was read. Write the column as strings, or drop it.",
            )
