"""What every source of retrieval data offers: passages, queries, judgements and training rows, as streams.

A source is a spec: its settings say where the data lies and how to read it. Its identity is the content of
its files, so the same data has the same address on every machine.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from descant.core.errors import ConfigError
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data.pinned import HubFile, PinnedFiles, is_here


class RetrievalSource(PinnedFiles):
    """Retrieval data in one published layout.

    Streams hold no texts. Ids are unique within ``passages`` and within ``queries``. Every row that was left
    out comes out as ``Rejected``, of one stream. They raise DataError for data that is not what the layout
    promises.
    """

    has_negatives: ClassVar[bool] = True
    """Whether training rows may have hard negatives."""

    @abstractmethod
    def named_files(self) -> Mapping[str, Path | HubFile]:
        """Every file that is read, by a name that is the same wherever the data lies."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The names that ``judgements`` accepts."""

    @abstractmethod
    def passages(self) -> Iterator[Passage | Rejected]:
        """The corpus, in file order."""

    @abstractmethod
    def queries(self) -> Iterator[Query | Rejected]:
        """The queries of all splits, in file order."""

    @abstractmethod
    def judgements(self, split: str) -> Iterator[Judgement | Rejected]:
        """The judgements of one split; raises ConfigError for a split that ``splits`` does not name."""

    @abstractmethod
    def triples(self) -> Iterator[Triple | Rejected]:
        """The training rows, one per query, in the order in which the queries first stand in the file."""

    def check(self) -> None:
        """Read the first row of every file: a wrong path or layout shows before anything starts.

        Files of the Hub that are not cached are not read. Raises ConfigError for a missing file and DataError for an
        empty file, a missing column or a wrong type.
        """
        self.require_files()
        if not all(map(is_here, self.named_files().values())):
            return
        judgements = (self.judgements(split) for split in self.splits())
        streams: Iterable[Iterator[object]] = (self.passages(), self.queries(), *judgements)
        for stream in streams:
            next(stream, None)

    def _require_split(self, split: str) -> None:
        if split not in self.splits():
            known = ", ".join(self.splits()) or "none"
            raise ConfigError(
                "E-SRC-SPLIT",
                split,
                f"this source has no such split, known: {known}",
                "Name one of them, or another source.",
            )
