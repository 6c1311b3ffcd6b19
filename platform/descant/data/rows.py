"""Rows of JSON-lines and tab-separated files: named columns, read with the type that a format promises.

Ids are strings and stay as they are: ``01`` and ``1`` differ, a number is refused rather than turned into
text.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from descant.core.errors import DataError
from descant.core.records import Passage, Query, Rejected
from descant.data.lines import rejected_line, text_lines

MAX_ID_BYTES = 512

_TYPE_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "list",
    dict: "object",
}
_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

Item = TypeVar("Item")


class Row(NamedTuple):
    """One row of a file: where it stands and its values by column name."""

    path: Path
    line: int
    values: dict[str, Any]

    @property
    def where(self) -> str:
        """``path:line``, for messages."""
        return f"{self.path}:{self.line}"

    def rejected(self, row_id: str, reason: str) -> Rejected:
        """This row, left out."""
        return Rejected(row_id, f"{self.path.name}:{self.line}", reason)

    def identifier(self, column: str) -> str:
        """An id; raises DataError for what ``identifier`` refuses and for a missing column."""
        return identifier(self._value(column), self.where, column)

    def text(self, column: str) -> str:
        """A text, empty where it is null; raises DataError for a missing column or another type."""
        value = self._value(column)
        if type(value) is str:
            return value
        if value is None:
            return ""
        raise self._wrong_type(column, value, "string")

    def optional_text(self, column: str) -> str:
        """A text, empty where it is null or the column is missing."""
        return self.text(column) if column in self.values else ""

    def texts(self, column: str) -> tuple[str, ...]:
        """A list of texts; raises DataError for a missing column or another type."""
        items = self.items(column)
        for item in items:
            if type(item) is not str:
                raise self._wrong_type(column, item, "string", " inside the list")
        return items

    def identifiers(self, column: str) -> tuple[str, ...]:
        """A list of ids."""
        return tuple(identifier(item, self.where, column) for item in self.items(column))

    def records(self, column: str) -> tuple["Row", ...]:
        """A list of objects, each as a row at this row's place."""
        items = self.items(column)
        for item in items:
            if type(item) is not dict:
                raise self._wrong_type(column, item, "object", " inside the list")
        return tuple(Row(self.path, self.line, item) for item in items)

    def record(self, column: str) -> "Row":
        """An object, as a row at this row's place."""
        value = self._value(column)
        if type(value) is not dict:
            raise self._wrong_type(column, value, "object")
        return Row(self.path, self.line, value)

    def items(self, column: str) -> tuple[Any, ...]:
        """The items of a list of any type."""
        value = self._value(column)
        if type(value) is not list:
            raise self._wrong_type(column, value, "list")
        return tuple(value)

    def _value(self, column: str) -> Any:
        try:
            return self.values[column]
        except KeyError:
            found = ", ".join(self.values) or "none"
            raise column_error(self.where, f"column '{column}' is missing, found: {found}") from None

    def _wrong_type(self, column: str, value: Any, expected: str, place: str = "") -> DataError:
        return type_error(self.where, column, value, expected, place)


def identifier(value: Any, where: str, column: str) -> str:
    """``value`` if it can be an id: a string without whitespace, 1 to 512 bytes; raises DataError otherwise.

    Run files and judgements separate their columns by whitespace, so they could not carry any other id.
    """
    if type(value) is not str:
        raise type_error(where, column, value, "string", "; ids are never converted")
    if value.split() != [value] or len(value.encode()) > MAX_ID_BYTES:
        shown = repr(value if len(value) <= 80 else value[:80] + "…")
        raise DataError(
            "E-DATA-ID",
            where,
            f"column '{column}': id {shown}, expected 1 to {MAX_ID_BYTES} bytes without whitespace",
            "Nothing was kept. Rename the id in every file that uses it.",
        )
    return value


def column_error(where: str, problem: str) -> DataError:
    """The file does not have the columns of its format."""
    return DataError(
        "E-DATA-COLUMN", where, problem, "Nothing was kept. Check the source's 'kind' and the file."
    )


def type_error(where: str, column: str, value: Any, expected: str, place: str = "") -> DataError:
    """A column holds another type than its format promises."""
    found = _TYPE_NAMES.get(type(value), type(value).__name__)
    return DataError(
        "E-DATA-TYPE",
        where,
        f"column '{column}': found {found}, expected {expected}{place}",
        "Nothing was kept. Correct the file.",
    )


def passage_or_rejected(row: Row, passage: Passage) -> Passage | Rejected:
    """``passage``, left out as ``empty_text`` if it has neither title nor text to encode."""
    return row.rejected(passage.id, "empty_text") if not passage.full_text.strip() else passage


def query_or_rejected(row: Row, query: Query) -> Query | Rejected:
    """``query``, left out as ``empty_text`` if its text is blank."""
    return row.rejected(query.id, "empty_text") if not query.text.strip() else query


def json_rows(path: Path) -> Iterator[Row | Rejected]:
    """The objects of a JSON-lines file; blank lines are skipped.

    Reasons beside those of ``text_lines``: ``broken_json``, ``cut_last_line``, ``not_an_object``,
    ``invalid_unicode`` (an escaped lone surrogate or NUL). Raises DataError for a file without rows.
    """
    return non_empty(path, _parsed_lines(path, _json_row))


def tab_rows(path: Path, columns: Sequence[str]) -> Iterator[Row | Rejected]:
    """The rows of a tab-separated file without header or quoting, its fields named ``columns``.

    A first line with another number of fields raises DataError; a later one is left out as ``wrong_columns``.
    Raises DataError for a file without rows.
    """

    def parsed(path: Path, number: int, text: str) -> Row | Rejected:
        fields = tab_fields(text)
        if len(fields) == len(columns):
            return Row(path, number, dict(zip(columns, fields, strict=True)))
        if number == 1:
            expected = f"expected {len(columns)}: {', '.join(columns)}"
            raise column_error(f"{path}:1", f"found {len(fields)} tab-separated columns, {expected}")
        return rejected_line(path, number, "wrong_columns")

    return non_empty(path, _parsed_lines(path, parsed))


def tab_fields(text: str) -> list[str]:
    """The fields of one line; only its terminator (``\\n`` or ``\\r\\n``) is removed."""
    return text.removesuffix("\n").removesuffix("\r").split("\t")


def non_empty(path: Path, rows: Iterator[Item]) -> Iterator[Item]:
    """``rows``; raises DataError if there are none."""
    first = next(rows, None)
    if first is None:
        raise DataError(
            "E-DATA-EMPTY", str(path), "0 rows", "Nothing was kept. Check that the file is complete."
        )
    yield first
    yield from rows


def _parsed_lines(path: Path, parse: Callable[[Path, int, str], Row | Rejected]) -> Iterator[Row | Rejected]:
    for line in text_lines(path):
        if isinstance(line, Rejected):
            yield line
        elif line[1].strip("\r\n"):
            yield parse(path, *line)


def _json_row(path: Path, number: int, text: str) -> Row | Rejected:
    try:
        values = json.loads(text)
        is_whole = not _SUSPECT_ESCAPE.search(text) or all(map(is_storable, _strings(values)))
    except (ValueError, RecursionError):
        return rejected_line(path, number, "broken_json" if text.endswith("\n") else "cut_last_line")
    if type(values) is not dict:
        return rejected_line(path, number, "not_an_object")
    return Row(path, number, values) if is_whole else rejected_line(path, number, "invalid_unicode")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _strings(item)


def is_storable(text: str) -> bool:
    """Whether UTF-8 can hold the text: half a surrogate pair it cannot, and C strings end at a NUL."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
