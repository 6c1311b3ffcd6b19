"""The promises of every selector of in-context examples, as tests to subclass by filling ``selector``."""

import dataclasses

import numpy as np
import pytest

from descant.core.errors import ConfigError, DataError
from descant.selection import ExamplePool, Fitted, Selector, Targets
from descant.testing.index_suite import unit

ROWS, DIM, K = 60, 8, 5


def small_pool() -> ExamplePool:
    """Sixty rows: ten queries stand twice under two ids, and each passage answers two or more rows."""
    rng = np.random.default_rng(11)
    queries = [
        " ".join(f"w{word}" for word in rng.integers(40, size=rng.integers(5, 15))) for _ in range(ROWS)
    ]
    vectors = unit(rng.standard_normal((ROWS, DIM)))
    queries[50:], vectors[50:] = queries[:10], vectors[:10]
    passage_ids = [(f"p{row % 25}",) if row % 3 else (f"p{row % 25}", "p0") for row in range(ROWS)]
    return ExamplePool(tuple(f"q{row}" for row in range(ROWS)), tuple(queries), tuple(passage_ids), vectors)


def targets_like(pool: ExamplePool, rows: range) -> Targets:
    """Rows of the pool as targets, each with its own relevant passages."""
    return Targets(
        tuple(pool.ids[row] for row in rows),
        tuple(pool.queries[row] for row in rows),
        tuple(frozenset(pool.passage_ids[row]) for row in rows),
        None if pool.vectors is None else pool.vectors[rows.start : rows.stop : rows.step],
    )


class SelectorSuite:
    """Give the fixture ``selector``."""

    @pytest.fixture
    def selector(self) -> Selector:
        raise pytest.UsageError("a subclass gives the selector under test")

    @pytest.fixture
    def pool(self) -> ExamplePool:
        return small_pool()

    @pytest.fixture
    def targets(self, pool: ExamplePool) -> Targets:
        return targets_like(pool, range(ROWS))

    @pytest.fixture
    def fitted(self, selector: Selector, pool: ExamplePool) -> Fitted:
        return selector.fit(pool)

    @pytest.mark.parametrize("k", [1, K, 35])
    def test_exactly_k_distinct_rows_of_the_pool(self, fitted: Fitted, targets: Targets, k: int) -> None:
        rows = fitted.select(targets, k)
        assert str(rows.dtype) == "int64"
        assert rows.shape == (ROWS, k)
        assert ((rows >= 0) & (rows < ROWS)).all()
        assert all(len(set(line)) == k for line in rows.tolist())

    def test_own_row_is_never_chosen_and_its_twin_by_text_may_be(
        self, fitted: Fitted, targets: Targets
    ) -> None:
        open_targets = dataclasses.replace(targets, relevant=(frozenset(),) * ROWS)
        rows = fitted.select(open_targets, ROWS - 1)
        assert not (rows == np.arange(ROWS)[:, None]).any()
        assert all(row + 50 in rows[row] and row in rows[row + 50] for row in range(10))

    def test_rows_with_a_relevant_passage_are_never_chosen(
        self, fitted: Fitted, targets: Targets, pool: ExamplePool
    ) -> None:
        for relevant, line in zip(targets.relevant, fitted.select(targets, K), strict=True):
            assert not any(relevant & set(pool.passage_ids[row]) for row in line)

    def test_the_choice_for_a_target_does_not_depend_on_the_others(
        self, fitted: Fitted, targets: Targets, pool: ExamplePool
    ) -> None:
        together = fitted.select(targets, K)
        alone = [fitted.select(targets_like(pool, range(row, row + 1)), K) for row in range(ROWS)]
        assert np.array_equal(np.concatenate(alone), together)

    def test_the_same_selector_chooses_the_same(
        self, selector: Selector, pool: ExamplePool, targets: Targets
    ) -> None:
        assert np.array_equal(selector.fit(pool).select(targets, K), selector.fit(pool).select(targets, K))

    def test_no_examples_are_asked_and_given(self, fitted: Fitted, targets: Targets) -> None:
        assert fitted.select(targets, 0).shape == (ROWS, 0)

    def test_no_targets_give_no_rows(self, fitted: Fitted, pool: ExamplePool) -> None:
        assert fitted.select(targets_like(pool, range(0)), K).shape == (0, K)

    def test_too_few_eligible_rows_are_an_error_with_pool_target_and_k(
        self, fitted: Fitted, pool: ExamplePool
    ) -> None:
        with pytest.raises(DataError, match=r"E-SEL-POOL.*target q7.*60 rows, 57 .* k = 58"):
            fitted.select(targets_like(pool, range(7, 8)), 58)

    def test_a_negative_k_is_refused(self, fitted: Fitted, targets: Targets) -> None:
        with pytest.raises(ConfigError, match="E-SEL-K"):
            fitted.select(targets, -1)


class SimilaritySuite(SelectorSuite):
    """What selectors by similarity promise besides: a twin of the target is the most similar row there is."""

    def test_the_most_similar_example_stands_last(self, fitted: Fitted, targets: Targets) -> None:
        open_targets = dataclasses.replace(targets, relevant=(frozenset(),) * ROWS)
        rows = fitted.select(open_targets, K)
        assert rows[:10, -1].tolist() == list(range(50, 60))

    def test_a_smaller_k_gives_the_end_of_a_larger_one(self, fitted: Fitted, targets: Targets) -> None:
        assert np.array_equal(fitted.select(targets, 3), fitted.select(targets, 9)[:, -3:])

    def test_permuting_the_pool_permutes_rows_only(
        self, selector: Selector, pool: ExamplePool, targets: Targets
    ) -> None:
        order = np.random.default_rng(0).permutation(ROWS)
        permuted = ExamplePool(
            tuple(pool.ids[row] for row in order),
            tuple(pool.queries[row] for row in order),
            tuple(pool.passage_ids[row] for row in order),
            None if pool.vectors is None else pool.vectors[order],
        )
        before = selector.fit(pool).select(targets, 1)
        after = order[selector.fit(permuted).select(targets, 1)]
        texts = np.array(pool.queries)
        assert np.array_equal(texts[before], texts[after])
