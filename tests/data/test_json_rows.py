"""Rows: types, ids and damaged JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.data.rows import MAX_ID_BYTES, Row, identifier, json_rows, tab_rows


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def _row(**values: Any) -> Row:
    return Row(Path("rows.jsonl"), 7, values)


def _reasons(path: Path) -> list[str]:
    return [row.reason if isinstance(row, Rejected) else "" for row in json_rows(path)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1', "broken_json"),
        ("<html>", "broken_json"),
        ('{"a": "b\tc"}', "broken_json"),
        ('{"a": ' + "[" * 100_000, "broken_json"),
        ('{"a": ' + "1" * 5000 + "}", "broken_json"),
        ("[1, 2]", "not_an_object"),
        ("null", "not_an_object"),
        (r'{"a": "\ud83d"}', "invalid_unicode"),
        (r'{"a": {"b": ["\u0000"]}}', "invalid_unicode"),
        (r'{"\udc00": 1}', "invalid_unicode"),
    ],
)
def test_json_rows_unusable_line_is_rejected_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = _written(tmp_path, '{"a": "first"}\n' + line + '\n{"a": "last"}\n')
    assert list(json_rows(path))[1] == Rejected("rows.jsonl:2", "rows.jsonl:2", reason)
    assert _reasons(path) == ["", reason, ""]


@pytest.mark.parametrize("text", [r'{"a": "\ud83d\ude00"}', r'{"a": "\\u0000"}', r'{"a": "\\ud83d"}'])
def test_json_rows_harmless_escapes_are_kept(tmp_path: Path, text: str) -> None:
    rows = list(json_rows(_written(tmp_path, text)))
    assert [row.values for row in rows if isinstance(row, Row)] == [json.loads(text)]


def test_json_rows_cut_last_line_is_named_as_such(tmp_path: Path) -> None:
    assert _reasons(_written(tmp_path, '{"a": 1}\n{"a": "cu')) == ["", "cut_last_line"]


def test_json_rows_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    assert _reasons(_written(tmp_path, '{"a": 1}\r\n\r\n{"a": 2}')) == ["", ""]


@pytest.mark.parametrize("text", ["", "\n\n", "\r\n", "\ufeff"])
def test_json_rows_without_rows_raises_with_path(tmp_path: Path, text: str) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(DataError, match="0 rows") as raised:
        list(json_rows(path))
    assert str(path) in str(raised.value)
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("value", "found"), [(1, "integer"), (None, "null"), (1.5, "number"), (True, "boolean"), (["a"], "list")]
)
def test_identifier_that_is_not_a_string_raises_with_both_types(value: Any, found: str) -> None:
    with pytest.raises(DataError) as raised:
        _row(_id=value).identifier("_id")
    assert "rows.jsonl:7" in str(raised.value)
    assert f"column '_id': found {found}, expected string" in str(raised.value)


@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a\tb", "a\nb", "a\n", " a", "a\u2028b", "a\x85", "é" * 257, "x" * 10_000]
)
def test_identifier_that_a_run_file_cannot_carry_raises(value: str) -> None:
    with pytest.raises(DataError) as raised:
        identifier(value, "f:1", "_id")
    assert raised.value.code == "E-DATA-ID"
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "value", ["a/b", "01", "1", "../x", "é" * 256, "x" * MAX_ID_BYTES, "日本", '"', "\u200b"]
)
def test_identifier_that_is_odd_but_usable_is_unchanged(value: str) -> None:
    assert identifier(value, "f:1", "_id") == value


def test_row_missing_column_raises_naming_those_found() -> None:
    with pytest.raises(DataError, match="column 'text' is missing, found: _id, body"):
        _row(_id="a", body="b").text("text")


def test_row_text_of_another_type_raises_with_both_types() -> None:
    with pytest.raises(DataError, match="column 'text': found object, expected string"):
        _row(text={"en": "a"}).text("text")


@pytest.mark.parametrize(
    ("value", "problem"),
    [("a", "found string, expected list"), (["a", 1], "found integer, expected string inside the list")],
)
def test_row_texts_of_another_type_raises(value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        _row(pos=value).texts("pos")


def test_row_records_of_another_type_raises() -> None:
    with pytest.raises(DataError, match="found string, expected object inside the list"):
        _row(passages=["a"]).records("passages")


def test_row_null_text_reads_as_empty() -> None:
    assert _row(text=None).text("text") == ""


def test_tab_rows_keep_quotes_and_spaces(tmp_path: Path) -> None:
    rows = list(tab_rows(_written(tmp_path, ' "a\t b" \r\n'), ("x", "y")))
    assert [row.values for row in rows if isinstance(row, Row)] == [{"x": ' "a', "y": ' b" '}]


def test_tab_rows_first_line_with_other_columns_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 3 tab-separated columns, expected 2: x, y"):
        list(tab_rows(_written(tmp_path, "a\tb\tc\n"), ("x", "y")))


def test_tab_rows_later_line_with_other_columns_is_rejected(tmp_path: Path) -> None:
    rows = list(tab_rows(_written(tmp_path, "a\tb\na\n"), ("x", "y")))
    assert rows[1] == Rejected("rows.jsonl:2", "rows.jsonl:2", "wrong_columns")


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(st.dictionaries(_TEXTS, _TEXTS), min_size=1), st.booleans())
def test_json_rows_any_texts_survive(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, str]], ascii_only: bool
) -> None:
    lines = "".join(json.dumps(value, ensure_ascii=ascii_only) + "\n" for value in values)
    rows = list(json_rows(_written(tmp_path_factory.mktemp("rows"), lines)))
    assert [row.values for row in rows if isinstance(row, Row)] == values


@given(st.binary(max_size=300))
def test_json_rows_any_bytes_give_rows_rejections_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(data)
    try:
        assert all(isinstance(row, Row | Rejected) for row in json_rows(path))
    except DataError as error:
        assert error.code in ("E-DATA-EMPTY", "E-DATA-GZIP")  # noqa: PT017
