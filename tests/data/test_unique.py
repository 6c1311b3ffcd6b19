"""One content per id."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.core.errors import DataError
from descant.core.records import Passage, Rejected
from descant.data.rows import Row
from descant.data.unique import unique


def _rows(*pairs: tuple[str, str]) -> Iterator[Row | Rejected]:
    return (Row(Path("c.jsonl"), line, {"id": i, "text": text}) for line, (i, text) in enumerate(pairs, 1))


def _passage(row: Row) -> Passage:
    return Passage(row.identifier("id"), "", row.text("text"))


def test_unique_equal_repetition_is_rejected_as_duplicate() -> None:
    records = list(unique(_rows(("a", "x"), ("b", "x"), ("a", "x")), _passage))
    assert records == [Passage("a", "", "x"), Passage("b", "", "x"), Rejected("a", "c.jsonl:3", "duplicate")]


def test_unique_same_id_with_other_title_raises() -> None:
    def make(row: Row) -> Passage:
        return Passage("a", str(row.line), "x")

    with pytest.raises(DataError):
        list(unique(_rows(("a", "x"), ("a", "x")), make))


def test_unique_title_and_text_do_not_run_together() -> None:
    def make(row: Row) -> Passage:
        return Passage("a", *(("x", "yz") if row.line == 1 else ("xy", "z")))

    with pytest.raises(DataError):
        list(unique(_rows(("a", ""), ("a", "")), make))


def test_unique_ids_01_and_1_stay_distinct() -> None:
    assert len(list(unique(_rows(("01", "x"), ("1", "x")), _passage))) == 2


def test_unique_conflicts_are_listed_up_to_five_with_both_places() -> None:
    pairs = [(f"d{i}", "x") for i in range(9)] + [(f"d{i}", "y") for i in range(9)]
    with pytest.raises(DataError) as raised:
        list(unique(_rows(*pairs), _passage))
    message = str(raised.value)
    assert "d0 (c.jsonl:1 and c.jsonl:10)" in message
    assert "d4 (c.jsonl:5 and c.jsonl:14)" in message
    assert "d5" not in message
    assert raised.value.exit_code == 3


def test_unique_single_conflict_is_raised_at_the_end() -> None:
    with pytest.raises(DataError, match=r"a \(c\.jsonl:1 and c\.jsonl:2\)"):
        list(unique(_rows(("a", "x"), ("a", "y"), ("b", "x")), _passage))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy"))))
def test_unique_agrees_with_a_dictionary(pairs: list[tuple[str, str]]) -> None:
    contents: dict[str, set[str]] = {}
    for key, text in pairs:
        contents.setdefault(key, set()).add(text)
    if any(len(texts) > 1 for texts in contents.values()):
        with pytest.raises(DataError):
            list(unique(_rows(*pairs), _passage))
    else:
        kept = [record for record in unique(_rows(*pairs), _passage) if isinstance(record, Passage)]
        assert [passage.id for passage in kept] == list(contents)
