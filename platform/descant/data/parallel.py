"""Texts in two languages: tables whose rows have the same ids, or files of the same lines.

The former is the layout of SIB-200 (arXiv:2309.07445), the latter that of FLORES-200 (arXiv:2207.04672), whose
sentences both hold.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.core.spec import Spec
from descant.data.items import Instruction
from descant.data.lines import text_lines
from descant.data.splits import Split, SplitFiles
from descant.data.tables import TableFormat, table_rows


class Sentence(NamedTuple):
    """A text with what pairs it with its translation."""

    id: str
    text: str


class _Side(SplitFiles):
    """One language."""

    @abstractmethod
    def sentences(self, split: Split) -> Iterator[Sentence | Rejected]:
        """The sentences in file order."""


class SentenceTable(_Side):
    """A column of sentences beside a column of ids."""

    kind: Literal["table"] = "table"
    """Named columns."""
    format: TableFormat = "tsv"
    """How the files are written."""
    id: str = "index_id"
    """Column of what is the same for a sentence in every language."""
    text: str = "text"
    """Column of the sentence."""

    def sentences(self, split: Split) -> Iterator[Sentence | Rejected]:
        """The rows in file order."""
        for row in table_rows(self.path_of(split), self.format, [self.id, self.text]):
            yield row if isinstance(row, Rejected) else Sentence(row.identifier(self.id), row.text(self.text))


class SentenceLines(_Side):
    """A sentence a line; the number of the line is its id."""

    kind: Literal["lines"] = "lines"
    """One sentence a line."""

    def sentences(self, split: Split) -> Iterator[Sentence | Rejected]:
        """The lines in file order, blank ones among them: they count."""
        for line in text_lines(self.path_of(split)):
            yield line if isinstance(line, Rejected) else Sentence(str(line[0]), line[1].rstrip("\r\n"))


AnySide = Annotated[SentenceTable | SentenceLines, Field(discriminator="kind")]


class Parallel(Spec):
    """Sentences and their translations; both sides of the same kind."""

    kind: Literal["parallel"] = "parallel"
    """Texts in two languages."""
    given: AnySide
    """The language that is translated from."""
    wanted: AnySide
    """The language that is translated to."""

    def splits(self) -> tuple[Split, ...]:
        """Those that both sides have."""
        return tuple(split for split in self.given.splits() if split in self.wanted.splits())

    def splits_here(self) -> tuple[Split, ...]:
        """Those whose two files are on this machine."""
        here = self.wanted.splits_here()
        return tuple(split for split in self.given.splits_here() if split in here)

    def require_files(self) -> None:
        """Raise ConfigError for a missing file."""
        self.given.require_files()
        self.wanted.require_files()

    def items(self, split: Split) -> Iterator[Instruction | Rejected]:
        """The pairs in the order of the given side; left out are ``no_pair`` and ``empty_text``.

        Raises DataError for files of lines that differ in length: every pair behind the missing line would be wrong.
        """
        given, wanted = (list(side.sentences(split)) for side in (self.given, self.wanted))
        if isinstance(self.given, SentenceLines) and len(given) != len(wanted):
            raise DataError(
                "E-DATA-PAIRS",
                split,
                f"found {len(given)} and {len(wanted)} lines, expected as many",
                "Nothing was kept. Pair the files line by line.",
            )
        texts = _texts(wanted)
        yield from (one for one in wanted if isinstance(one, Rejected))
        for one in given:
            yield one if isinstance(one, Rejected) else _pair(split, one, texts)
        known = _texts(given)
        yield from (Rejected(i, f"{split} {i}", "no_pair") for i in texts if i not in known)


def _texts(sentences: list[Sentence | Rejected]) -> Mapping[str, str]:
    return {one.id: one.text for one in sentences if isinstance(one, Sentence)}


def _pair(split: Split, given: Sentence, texts: Mapping[str, str]) -> Instruction | Rejected:
    wanted = texts.get(given.id)
    if wanted is None:
        return Rejected(given.id, f"{split} {given.id}", "no_pair")
    if not given.text.strip() or not wanted.strip():
        return Rejected(given.id, f"{split} {given.id}", "empty_text")
    return Instruction(given.id, given.text, "", wanted, None)
