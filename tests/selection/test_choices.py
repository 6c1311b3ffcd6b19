import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import ConfigError, DataError
from descant.indexes import Bm25, Exact
from descant.selection import Dense, ExamplePool, Lexical, Selector, Targets, Uniform
from descant.testing.selector_suite import small_pool, targets_like


@st.composite
def cases(draw: st.DrawFn) -> tuple[ExamplePool, Targets, int]:
    """Small pools: few words (ties, zero scores), few passages (large leak sets), own and foreign ids."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, passages = draw(st.integers(2, 30)), draw(st.integers(1, 6))

    def queries(count: int) -> tuple[str, ...]:
        return tuple(" ".join(rng.choice(list("abcdef"), size=rng.integers(0, 4))) for _ in range(count))

    def relevant(count: int) -> list[list[str]]:
        return [[f"p{p}" for p in rng.integers(passages, size=rng.integers(0, 3))] for _ in range(count)]

    ids = tuple(f"q{row}" for row in range(rows))
    pool = ExamplePool(ids, queries(rows), tuple(map(tuple, relevant(rows))), grid_vectors(rng, rows))
    num_targets = draw(st.integers(1, 6))
    target_ids = tuple(f"q{row}" for row in rng.permutation(2 * rows)[:num_targets])
    num_targets = len(target_ids)
    targets = Targets(
        target_ids,
        queries(num_targets),
        tuple(map(frozenset, relevant(num_targets))),
        grid_vectors(rng, num_targets),
    )
    return pool, targets, draw(st.integers(1, rows))


def grid_vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.integers(-1, 2, size=(count, 3)).astype(np.float32)
    vectors[:, 0] = 1
    return vectors


def filtered_ranking(
    ranking: np.ndarray, pool: ExamplePool, targets: Targets, k: int
) -> list[list[int]] | None:
    """The whole ranking without what may not be shown; None when it is too short for a target."""
    chosen = []
    for line, target_id, relevant in zip(ranking, targets.ids, targets.relevant, strict=True):
        left = [
            r for r in line.tolist() if pool.ids[r] != target_id and not relevant & set(pool.passage_ids[r])
        ]
        if len(left) < k:
            return None
        chosen.append(left[:k][::-1])
    return chosen


@pytest.mark.parametrize("selector", [Lexical(), Dense()], ids=["lexical", "dense"])
@settings(max_examples=80, deadline=None)
@given(cases())
def test_similar_selection_equals_filtering_the_full_ranking(
    selector: Selector, case: tuple[ExamplePool, Targets, int]
) -> None:
    pool, targets, k = case
    assert pool.vectors is not None
    assert targets.vectors is not None
    if isinstance(selector, Lexical):
        ranking = Bm25().fit(pool.queries).search(targets.queries, len(pool.ids)).rows
    else:
        ranking = Exact().fit(pool.vectors).search(targets.vectors, len(pool.ids)).rows
    expected = filtered_ranking(ranking, pool, targets, k)
    if expected is None:
        with pytest.raises(DataError, match="E-SEL-POOL"):
            selector.fit(pool).select(targets, k)
    else:
        assert selector.fit(pool).select(targets, k).tolist() == expected


def test_lexical_rows_without_shared_words_follow_in_pool_order() -> None:
    pool = ExamplePool(("a", "b", "c", "d"), ("sun", "rain", "snow sun", "wind"), ((),) * 4)
    targets = Targets(("a", "x"), ("sun", "hail"), (frozenset(),) * 2)
    assert Lexical().fit(pool).select(targets, 3).tolist() == [[3, 1, 2], [2, 1, 0]]


def test_uniform_choices_differ_by_target_and_seed_and_not_by_run() -> None:
    pool = small_pool()
    targets = targets_like(pool, range(60))
    first, again, other = (Uniform(seed=seed).fit(pool).select(targets, 5) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.9
    assert len({tuple(line) for line in first.tolist()}) > 55


def test_uniform_draws_every_eligible_row_about_equally_often() -> None:
    pool = small_pool()
    ids = tuple(f"t{i}" for i in range(2000))
    targets = Targets(ids, ("",) * 2000, (frozenset(["p1"]),) * 2000)
    counts = np.bincount(Uniform().fit(pool).select(targets, 3).ravel(), minlength=60)
    left_out = [row for row in range(60) if "p1" in pool.passage_ids[row]]
    assert counts[left_out].tolist() == [0] * len(left_out)
    expected = 6000 / (60 - len(left_out))
    # five standard deviations of a binomial count
    assert (np.abs(np.delete(counts, left_out) - expected) < 5 * np.sqrt(expected)).all()


def test_dense_without_vectors_is_refused() -> None:
    pool = small_pool()
    targets = dataclasses.replace(targets_like(pool, range(3)), vectors=None)
    with pytest.raises(ConfigError, match=r"E-SEL-VECTORS\] targets"):
        Dense().fit(pool).select(targets, 2)
    with pytest.raises(ConfigError, match=r"E-SEL-VECTORS\] pool"):
        Dense().fit(dataclasses.replace(pool, vectors=None))


def test_pool_with_an_id_twice_is_refused_with_the_id() -> None:
    with pytest.raises(DataError, match=r"E-SEL-COLUMNS.*'b'"):
        ExamplePool(("a", "b", "b"), ("x", "y", "z"), ((),) * 3)


def test_pool_with_columns_of_unequal_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"E-SEL-COLUMNS.*'queries': 1"):
        ExamplePool(("a", "b"), ("x",), ((),) * 2)
