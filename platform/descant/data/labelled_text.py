"""Labelled texts in named columns, single or in pairs, as GLUE has them (arXiv:1804.07461)."""

import functools
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from descant.core.errors import ConfigError
from descant.core.records import Rejected
from descant.data.items import LabelledText, content_id
from descant.data.rows import Row, type_error
from descant.data.splits import Split, SplitFiles
from descant.data.tables import TableFormat, table_rows


class LabelledFiles(SplitFiles):
    """A column of texts, perhaps a second one, and a column of labels.

    Labels are names, or whole numbers from 0. Rows without an id column are known by their content.
    """

    format: TableFormat
    """How the files are written."""
    text: str = "text"
    """Column of the text."""
    pair: str | None = None
    """Column of the second text of a pair."""
    label: str = "label"
    """Column of the label."""
    labels: tuple[str, ...] | None = Field(None, min_length=2)
    """Names of the classes, in the order of their numbers; if left out, what stands in the training file (else in the
    test file), sorted."""
    id: str | None = None
    """Column of the id."""

    def label_names(self) -> tuple[str, ...]:
        """The classes; raises ConfigError where the files hold fewer than two."""
        if self.labels is not None:
            return self.labels
        split = self.splits()[0] if self.train is None else "train"
        path = self.path_of(split)
        status = path.stat()
        return _names_in(self, split, status.st_size, status.st_mtime_ns)

    def labelled(self, split: Split) -> Iterator[LabelledText | Rejected]:
        """The rows of ``split`` in file order; an unknown label, or one out of range, is ``unknown_label``."""
        numbers = {name: number for number, name in enumerate(self.label_names())}
        for row in self._rows(split):
            yield row if isinstance(row, Rejected) else self._item(row, numbers)

    def _rows(self, split: Split) -> Iterator[Row | Rejected]:
        wanted = [name for name in (self.id, self.text, self.pair, self.label) if name is not None]
        return table_rows(self.path_of(split), self.format, wanted)

    def _item(self, row: Row, numbers: dict[str, int]) -> LabelledText | Rejected:
        label = label_of(row, self.label)
        text = row.text(self.text)
        pair = row.text(self.pair) if self.pair is not None else None
        row_id = row.identifier(self.id) if self.id else content_id([text, pair or "", str(label)])
        if not text.strip() or (pair is not None and not pair.strip()):
            return row.rejected(row_id, "empty_text")
        number = number_of(label, numbers)
        if number is None:
            return row.rejected(row_id, "unknown_label")
        return LabelledText(row_id, text, pair, number)


class LabelledTexts(LabelledFiles):
    """Texts to be classified."""

    kind: Literal["labelled_text"] = "labelled_text"
    """Labelled texts in named columns."""

    def items(self, split: Split) -> Iterator[LabelledText | Rejected]:
        """The rows of ``split``, as ``labelled`` has them."""
        return self.labelled(split)


def label_of(row: Row, column: str) -> int | str:
    """A label as it is written: a whole number or a name; a number in text stays text."""
    if column in row.values:
        value = row.values[column]
        if type(value) is int:
            return value
        if type(value) is not str:
            raise type_error(row.where, column, value, "integer or string")
    return row.text(column)


def number_of(label: int | str, numbers: dict[str, int]) -> int | None:
    """The class of a label: a name wins over a number, so that classes may be named by digits."""
    by_name = numbers.get(str(label))
    if by_name is not None:
        return by_name
    return int(label) if is_number(label) and int(label) < len(numbers) else None


def is_number(label: int | str) -> bool:
    """Whether a label is a whole number from 0, perhaps written as text."""
    return label >= 0 if isinstance(label, int) else label.isascii() and label.isdigit() and len(label) < 10


@functools.lru_cache(maxsize=64)
def _names_in(source: LabelledFiles, split: Split, size: int, modified_ns: int) -> tuple[str, ...]:
    """The distinct labels of a split: numbers in their order, names in alphabetical order."""
    found = {label_of(row, source.label) for row in source._rows(split) if not isinstance(row, Rejected)}
    numbers = sorted(int(label) for label in found if is_number(label))
    names = sorted(str(label) for label in found if not is_number(label) and str(label).strip())
    labels = tuple(names) if names else tuple(map(str, range(max(numbers, default=-1) + 1)))
    if len(labels) < 2 or (names and numbers):
        raise ConfigError(
            "E-SRC-LABELS",
            f"{split}, column '{source.label}'",
            f"found {', '.join(map(str, [*numbers, *names][:5])) or 'no labels'}, expected two or more of one kind",
            "Nothing was started. Name the classes in 'labels', or correct the column.",
        )
    return labels
