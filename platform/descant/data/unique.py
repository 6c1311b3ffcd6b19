"""Ids stand for one content: repeated rows are left out, contradictory ones refused.

Only digests are held, about 170 bytes per row, never a text.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from descant.core.errors import DataError
from descant.core.records import Passage, Query, Rejected
from descant.data.rows import Row

NUM_SHOWN = 5

Record = TypeVar("Record", Passage, Query)


class FirstSeen:
    """What first stood under each key of one file, and the keys that later stood for something else."""

    def __init__(self) -> None:
        self._first: dict[bytes, bytes] = {}
        self._conflicts: list[tuple[str, str, str]] = []

    def add(self, row: Row, key: str, content: str) -> bool:
        """Whether ``key`` is new; raises DataError at the fifth key that stands for another content."""
        key_digest, content_digest = _digest(key), _digest(content)
        first = self._first.get(key_digest)
        if first is None:
            self._first[key_digest] = content_digest + row.line.to_bytes(8)
            return True
        if first[:16] != content_digest:
            self._conflicts.append((key, f"{row.path}:{int.from_bytes(first[16:])}", row.where))
            if len(self._conflicts) == NUM_SHOWN:
                self.refuse_conflicts()
        return False

    def refuse_conflicts(self) -> None:
        """Raise DataError if any key stood for two contents; to be called after the last row."""
        if self._conflicts:
            listed = "; ".join(f"{key} ({first} and {again})" for key, first, again in self._conflicts)
            raise DataError(
                "E-DATA-DUPLICATE",
                self._conflicts[0][2],
                f"the same id with different content: {listed}",
                "Nothing was kept. Give each its own id, or remove one of them.",
            )


def unique(
    rows: Iterable[Row | Rejected], make: Callable[[Row], Record | Rejected]
) -> Iterator[Record | Rejected]:
    """The records that ``make`` builds, one per id; an equal repetition is ``Rejected`` as ``duplicate``.

    Raises DataError for ids with two contents: the first five, each with both places.
    """
    seen = FirstSeen()
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        record = make(row)
        if isinstance(record, Rejected) or seen.add(row, record.id, content(record)):
            yield record
        else:
            yield row.rejected(record.id, "duplicate")
    seen.refuse_conflicts()


def content(record: Passage | Query) -> str:
    """Everything of a record but its id, as one string."""
    return record.text if isinstance(record, Query) else f"{record.title}\x1f{record.text}"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
