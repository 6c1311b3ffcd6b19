"""Running text in files of any size, read as a stream: JSON lines, Parquet, or plain text.

A file is the unit of parallel reading, so large corpora come in several files, as their publishers give them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from descant.core.records import Rejected
from descant.data.lines import text_lines
from descant.data.pinned import FileLocation, HubFile, PinnedFiles, file_at, local_file
from descant.data.rows import Row
from descant.data.tables import table_rows

JOINED_BY = "\n\n"


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it stands."""

    where: str
    """``file:line`` of its first row."""
    text: str


class RunningText(PinnedFiles):
    """Files of documents."""

    path_fields: ClassVar[tuple[str, ...]] = ("files",)

    files: tuple[FileLocation, ...] = Field(min_length=1)
    """The files, all of one format."""
    format: Literal["jsonl", "parquet", "text"] = "jsonl"
    """JSON lines or Parquet with a column of texts, or plain text with blank lines between documents."""
    column: str = "text"
    """Column of the texts."""
    group: str | None = None
    """Column of documents: rows that follow each other with the same value are paragraphs of one."""

    def named_files(self) -> Mapping[str, Path | HubFile]:
        """By their number."""
        return {f"{number:05d}": file_at(location) for number, location in enumerate(self.files)}

    def documents(self, number: int) -> Iterator[Document | Rejected]:
        """The documents of file ``number`` in their order; rows that cannot be read as ``Rejected``.

        Raises DataError for a missing column, an empty file and a damaged one.
        """
        path = local_file(self.files[number])
        if self.format == "text":
            yield from _joined(_paragraphs(path))
            return
        columns = [self.column] if self.group is None else [self.column, self.group]
        rows = table_rows(path, self.format, columns)
        yield from _joined(
            row if isinstance(row, Rejected) else (self._group_of(row), _place(row), row.text(self.column))
            for row in rows
        )

    def _group_of(self, row: Row) -> object:
        return row.where if self.group is None else row.values.get(self.group)


Paragraph = tuple[object, str, str]
"""What it is part of, where it stands, its text."""


def _joined(paragraphs: Iterator[Paragraph | Rejected]) -> Iterator[Document | Rejected]:
    """Paragraphs that follow each other with the same group as one document."""
    held: list[str] = []
    group: object = None
    where = ""
    for one in paragraphs:
        if isinstance(one, Rejected):
            yield one
            continue
        if held and one[0] != group:
            yield Document(where, JOINED_BY.join(held))
            held = []
        if not held:
            group, where = one[:2]
        held.append(one[2])
    if held:
        yield Document(where, JOINED_BY.join(held))


def _paragraphs(path: Path) -> Iterator[Paragraph | Rejected]:
    """Each run of lines that are not blank."""
    number = 0
    lines: list[str] = []
    where = ""
    for line in text_lines(path):
        if isinstance(line, Rejected):
            yield line
            continue
        if line[1].strip():
            where = where if lines else f"{path.name}:{line[0]}"
            lines.append(line[1].rstrip("\r\n"))
            continue
        if lines:
            yield number, where, "\n".join(lines)
            number, lines = number + 1, []
    if lines:
        yield number, where, "\n".join(lines)


def _place(row: Row) -> str:
    return f"{row.path.name}:{row.line}"
