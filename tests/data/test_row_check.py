"""How many rows may be left out."""

from collections.abc import Iterator

import pytest

from descant.core.errors import DataError
from descant.core.records import Query, Rejected
from descant.data.rejects import RowCheck, num_allowed


@pytest.mark.parametrize(
    ("num_rows", "allowed"),
    [(0, 0), (9, 0), (10, 1), (100, 10), (999, 99), (1_000, 100), (100_000, 100), (1_000_000, 1_000)],
)
def test_num_allowed_is_the_larger_of_100_and_a_thousandth_within_a_tenth(
    num_rows: int, allowed: int
) -> None:
    assert num_allowed(num_rows) == allowed


def _rows(num_good: int, num_bad: int, reason: str = "broken_json") -> Iterator[Query | Rejected]:
    yield from (Query(f"q{i}", "a") for i in range(num_good))
    yield from (Rejected(f"f:{i}", f"f:{i}", reason) for i in range(num_bad))


def test_row_check_at_the_limit_passes_every_row() -> None:
    check = RowCheck("queries.jsonl")
    assert len(list(check.unique(_rows(9_900, 100)))) == 10_000
    check.finish()
    assert check.reasons == {"broken_json": 100}


def test_row_check_beyond_the_limit_raises_with_counts_and_first_places() -> None:
    check = RowCheck("queries.jsonl")
    list(check.unique(_rows(9_899, 101)))
    with pytest.raises(DataError) as raised:
        check.finish()
    message = str(raised.value)
    assert "queries.jsonl: 101 of 10000 rows cannot be used (broken_json 101), at most 100" in message
    assert "f:0 broken_json; f:1 broken_json" in message
    assert "f:5" not in message


def test_row_check_duplicates_are_dropped_counted_and_never_too_many() -> None:
    check = RowCheck("queries.jsonl")
    assert len(list(check.unique(_rows(10, 500, "duplicate")))) == 10
    check.finish()
    assert check.duplicates == 500
