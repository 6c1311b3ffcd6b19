"""TREC files: what is written is read back, and what is not a number never passes."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.core.errors import DataError, NumericsError
from descant.core.records import Hit, Judgement
from descant.data.qrels import read_judgements
from descant.data.trec import read_run, write_judgements, write_run, write_scores

_IDS = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1)
_SCORES = st.floats(allow_nan=False, allow_infinity=False)


def test_write_run_lines_are_as_trec_eval_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write_run(path, [Hit("q1", "d2", 1.5), Hit("q1", "d1", 0.1), Hit("q2", "d1", -3.0)], tag="t")
    assert path.read_text() == "q1 Q0 d2 1 1.5 t\nq1 Q0 d1 2 0.1 t\nq2 Q0 d1 1 -3.0 t\n"


def test_write_run_float32_score_is_plain_digits(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [Hit("q", "d", np.float32(0.5))])  # type: ignore[arg-type]
    assert (tmp_path / "run").read_text() == "q Q0 d 1 0.5 descant\n"


def test_write_run_next_larger_float_keeps_its_order(tmp_path: Path) -> None:
    hits = [Hit("q", "b", math.nextafter(0.3, 1)), Hit("q", "a", 0.3)]
    write_run(tmp_path / "run", hits)
    first, second = read_run(tmp_path / "run")
    assert first.score > second.score


@given(st.lists(st.builds(Hit, _IDS, _IDS, _SCORES), min_size=1, max_size=20))
def test_write_run_then_read_run_gives_the_same_hits(
    tmp_path_factory: pytest.TempPathFactory, hits: list[Hit]
) -> None:
    path = tmp_path_factory.mktemp("trec") / "run"
    write_run(path, hits)
    assert list(read_run(path)) == hits


def test_read_run_of_three_columns_is_query_passage_score(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q1\td1\t0.5\nq1\td2\t1e-3\n")
    assert list(read_run(tmp_path / "run")) == [Hit("q1", "d1", 0.5), Hit("q1", "d2", 0.001)]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_write_run_score_that_is_not_finite_raises_naming_the_query(tmp_path: Path, score: float) -> None:
    with pytest.raises(NumericsError, match="query q7") as raised:
        write_run(tmp_path / "run", [Hit("q7", "d1", score)])
    assert raised.value.exit_code == 8


@pytest.mark.parametrize("score", ["nan", "inf", "-Infinity", "1e999"])
def test_read_run_score_that_is_not_finite_raises_naming_the_query(tmp_path: Path, score: str) -> None:
    (tmp_path / "run").write_text(f"q1 Q0 d1 1 0.5 t\nq7 Q0 d1 1 {score} t\n")
    with pytest.raises(NumericsError, match="run:2: query q7"):
        list(read_run(tmp_path / "run"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("q1 Q0 d1 1\n", "found 4 columns"),
        ("q1 Q0 d1 1 high t\n", "score 'high' is not a number"),
        ("q1 Q0 d1 1 0.5 t\x00\n", "nul_byte"),
        ("", "0 rows"),
    ],
)
def test_read_run_damaged_line_raises(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "run").write_text(line)
    with pytest.raises(DataError, match=problem):
        list(read_run(tmp_path / "run"))


@pytest.mark.parametrize("hit", [Hit("q 1", "d", 0.0), Hit("q", "d\n", 0.0), Hit("", "d", 0.0)])
def test_write_run_id_with_whitespace_raises(tmp_path: Path, hit: Hit) -> None:
    with pytest.raises(DataError):
        write_run(tmp_path / "run", [hit])


@given(
    st.lists(
        st.builds(Judgement, _IDS, _IDS, st.integers(-3, 3)),
        min_size=1,
        max_size=20,
        unique_by=lambda judgement: (judgement.query_id, judgement.passage_id),
    )
)
def test_write_judgements_then_read_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, judgements: list[Judgement]
) -> None:
    path = tmp_path_factory.mktemp("trec") / "qrels"
    write_judgements(path, judgements)
    assert list(read_judgements(path)) == judgements


def test_write_scores_is_a_table_sorted_by_query(tmp_path: Path) -> None:
    write_scores(
        tmp_path / "s.tsv",
        {"q2": {"ndcg_at_10": 0.1, "mrr_at_10": 1.0}, "q1": {"mrr_at_10": 0, "ndcg_at_10": 0.5}},
    )
    assert (tmp_path / "s.tsv").read_text() == "query_id\tmrr_at_10\tndcg_at_10\nq1\t0.0\t0.5\nq2\t1.0\t0.1\n"


def test_write_scores_value_that_is_not_finite_raises_naming_the_query(tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="query q1"):
        write_scores(tmp_path / "s.tsv", {"q1": {"mrr_at_10": math.nan}})
