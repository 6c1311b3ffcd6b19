"""Judgements: layouts, repeated and contradictory lines, grades."""

from pathlib import Path

import pytest
import pytrec_eval

from descant.core.errors import DataError
from descant.core.records import Judgement, Rejected
from descant.data.qrels import read_judgements, unknown_passages


def _read(tmp_path: Path, text: str) -> list[Judgement | Rejected]:
    path = tmp_path / "test.tsv"
    path.write_text(text, encoding="utf-8")
    return list(read_judgements(path))


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\n",
        "q1\td1\t2\n",
        "q1\td1\t2",
        "q1\t0\td1\t2\n",
        "q1 0 d1 2\n",
        "q1  Q0  d1  2\r\n\r\n",
        "\ufeffquery_id\tdoc_id\trelevance\r\nq1\td1\t2\r\n",
    ],
)
def test_read_judgements_layouts_read_the_same(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, text) == [Judgement("q1", "d1", 2)]


def test_read_judgements_negative_grade_is_kept(tmp_path: Path) -> None:
    assert _read(tmp_path, "q1\td1\t-2\n") == [Judgement("q1", "d1", -2)]


def test_negative_grade_scores_as_not_relevant_in_trec_eval() -> None:
    run = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}
    measures = {"ndcg_cut_10", "recall_10", "map_cut_10", "recip_rank"}
    scores = [
        pytrec_eval.RelevanceEvaluator({"q": {"a": grade, "b": 2, "c": 0}}, measures).evaluate(run)
        for grade in (-1, 0)
    ]
    assert scores[0] == scores[1]


def test_read_judgements_equal_repetition_is_a_duplicate(tmp_path: Path) -> None:
    rows = _read(tmp_path, "q1\td1\t1\nq1\td1\t1\n")
    assert rows[1] == Rejected("q1 d1", "test.tsv:2", "duplicate")


def test_read_judgements_two_grades_of_one_pair_raise_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        _read(tmp_path, "q1\td1\t1\nq1\td2\t1\nq1\td1\t0\n")
    assert f"q1 d1 ({tmp_path}/test.tsv:1 and {tmp_path}/test.tsv:3)" in str(raised.value)


@pytest.mark.parametrize("grade", ["1.0", "x", "", "\uff11", "1_0", "+1", "nan", "9999999999"])
def test_read_judgements_grade_that_is_not_an_integer_raises(tmp_path: Path, grade: str) -> None:
    with pytest.raises(DataError, match=r"test\.tsv:1: column 'score': found string, expected integer"):
        _read(tmp_path, f"q1\td1\t{grade}\n")


@pytest.mark.parametrize("text", ["q 1\td1\t1\n", "q1\t\t1\n", "\td1\t1\n", "q1\td\u20281\t1\n"])
def test_read_judgements_impossible_id_raises(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError) as raised:
        _read(tmp_path, text)
    assert raised.value.code == "E-DATA-ID"


def test_read_judgements_first_line_with_other_columns_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 2 columns, expected 3"):
        _read(tmp_path, "q1\td1\n")


def test_read_judgements_cut_last_line_is_rejected(tmp_path: Path) -> None:
    assert _read(tmp_path, "q1\td1\t1\nq1\td")[1] == Rejected("test.tsv:2", "test.tsv:2", "wrong_columns")


def test_read_judgements_empty_file_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 rows"):
        _read(tmp_path, "")


def test_unknown_passages_are_those_missing_from_the_corpus_sorted() -> None:
    judgements = [Judgement("q1", passage_id, 1) for passage_id in ("d9", "d1", "d2", "d9")]
    assert unknown_passages(judgements, {"d1", "d3"}) == ("d2", "d9")
