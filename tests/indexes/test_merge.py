import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import ConfigError
from descant.indexes import Answer, merge
from descant.indexes.merge import top_k

SCORES = st.sampled_from(
    [-np.inf, -2.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, float(np.nextafter(np.float32(1), 2)), 9e9]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SCORES, min_size=5, max_size=5), min_size=1, max_size=6), st.integers(0, 5))
def test_top_k_equals_a_plain_sort(lines: list[list[float]], k: int) -> None:
    scores, rows = top_k(np.array(lines, np.float32), k)
    for line, found_scores, found_rows in zip(lines, scores, rows, strict=True):
        expected = sorted(enumerate(line), key=lambda place: (-place[1], place[0]))[:k]
        assert found_rows.tolist() == [row for row, _ in expected]
        assert found_scores.tolist() == [np.float32(score) for _, score in expected]


def answer(*lines: list[tuple[float, int]]) -> Answer:
    scores = np.array([[score for score, _ in line] for line in lines], np.float32)
    return Answer(scores, np.array([[row for _, row in line] for line in lines], np.int64))


def test_merge_orders_by_score_then_row_over_shards() -> None:
    left, right = answer([(0.9, 1), (0.5, 0)]), answer([(0.9, 7), (0.6, 3), (0.5, 2)])
    assert merge([right, left], 4).rows.tolist() == [[1, 7, 3, 0]]


def test_merge_of_a_short_place_takes_the_other_shards_rows() -> None:
    left, right = answer([(0.9, 1), (-np.inf, -1)]), answer([(0.2, 7), (0.1, 8)])
    assert merge([left, right], 3).rows.tolist() == [[1, 7, 8]]


def test_merge_of_too_few_rows_is_an_error_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"E-IDX-K.*k = 150.*100 rows") as caught:
        merge([answer([(1.0, row) for row in range(100)])], 150)
    assert caught.value.exit_code == 2


def test_merge_of_too_few_found_rows_names_the_query() -> None:
    short = answer([(0.9, 1), (0.8, 2)], [(0.9, 1), (-np.inf, -1)])
    with pytest.raises(ConfigError, match=r"E-IDX-SHORT.*query 1.*hold 1 rows, k = 2"):
        merge([short], 2)
