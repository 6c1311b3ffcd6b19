"""How many input rows may be left out before the input itself is refused."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from descant.core.errors import DataError
from descant.core.records import Rejected

ALWAYS_ALLOWED = 100
ALLOWED_SHARE = 0.001
LARGEST_SHARE = 0.1
NUM_SHOWN = 5

Record = TypeVar("Record")


def num_allowed(num_rows: int) -> int:
    """The larger of 100 rows and 0.1 % of the rows, never more than a tenth of them."""
    return int(min(max(ALWAYS_ALLOWED, ALLOWED_SHARE * num_rows), LARGEST_SHARE * num_rows))


class RowCheck:
    """Counts the rows of one stream; ``finish`` decides whether what was left out can be tolerated.

    The total decides, so nothing of the stream may be published before ``finish``.
    """

    def __init__(self, where: str) -> None:
        self.num_rows = 0
        self.duplicates = 0
        self.reasons: Counter[str] = Counter()
        self._where = where
        self._first: list[Rejected] = []

    def unique(self, rows: Iterable[Record | Rejected]) -> Iterator[Record | Rejected]:
        """``rows`` without the repeated ones (``duplicate``): they are counted, nothing is lost with them."""
        for row in rows:
            self.num_rows += 1
            if isinstance(row, Rejected):
                if row.reason == "duplicate":
                    self.duplicates += 1
                    continue
                self.reasons[row.reason] += 1
                if len(self._first) < NUM_SHOWN:
                    self._first.append(row)
            yield row

    def finish(self) -> None:
        """Raise DataError if more rows were rejected than ``num_allowed``."""
        rejected = self.reasons.total()
        if rejected > num_allowed(self.num_rows):
            counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items()))
            places = "; ".join(f"{row.where} {row.reason}" for row in self._first)
            limit = f"at most {num_allowed(self.num_rows)} may be left out"
            raise DataError(
                "E-DATA-REJECTS",
                self._where,
                f"{rejected} of {self.num_rows} rows cannot be used ({counts}), {limit}",
                f"Nothing was published. Correct the file; the first ones: {places}.",
            )


def separated(rows: Iterable[Record | Rejected]) -> tuple[list[Record], list[Rejected]]:
    """What can be used and what cannot, each in its order."""
    kept: list[Record] = []
    rejected: list[Rejected] = []
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            kept.append(row)
    return kept, rejected
