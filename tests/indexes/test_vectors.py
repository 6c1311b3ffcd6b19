import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import ConfigError
from descant.indexes import Answer, Exact, Hnsw, Ivf, merge
from descant.indexes.faiss_shard import fixed_dot
from descant.testing.index_suite import divided, same, unit, vectors


def brute_force(rows: np.ndarray, queries: np.ndarray, k: int) -> Answer:
    """Correctly rounded sums and a plain sort, one pair at a time."""
    lines = []
    for query in queries.tolist():
        scores = [
            np.float32(math.fsum(a * b for a, b in zip(query, row, strict=True))) for row in rows.tolist()
        ]
        lines.append(sorted(enumerate(scores), key=lambda line: (-line[1], line[0]))[:k])
    return Answer(
        np.array([[score for _, score in line] for line in lines], np.float32),
        np.array([[row for row, _ in line] for line in lines], np.int64),
    )


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, list[int]]:
    """Few distinct vectors, each many times, exactly or one bit apart: mostly ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dim, rows = draw(st.integers(1, 12)), draw(st.integers(1, 150))
    distinct = unit(rng.standard_normal((draw(st.integers(1, 4)), dim)))
    corpus = distinct[rng.integers(len(distinct), size=rows)]
    nudged = rng.random(corpus.shape) < 0.1
    corpus = np.where(nudged, np.nextafter(corpus, np.float32(2)), corpus).astype(np.float32)
    queries = np.concatenate([corpus[:1], unit(rng.standard_normal((2, dim)))])
    k = draw(st.integers(1, rows))
    sizes = draw(st.lists(st.integers(0, rows), max_size=7).map(sorted))
    return corpus, queries, k, np.diff([0, *sizes]).tolist()


@settings(max_examples=60, deadline=None)
@given(corpora())
def test_exact_of_duplicates_and_near_ties_equals_brute_force_for_any_sharding(
    case: tuple[np.ndarray, np.ndarray, int, list[int]],
) -> None:
    corpus, queries, k, sizes = case
    expected = brute_force(corpus, queries, k)
    assert same(Exact().fit(corpus).search(queries, k), expected)
    first_row, answers = 0, []
    for part in divided(corpus, sizes):
        answers.append(Exact().fit(part, first_row=first_row).search(queries, k))
        first_row += len(part)
    assert same(merge(answers, k), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(0, 2**32))
def test_fixed_dot_of_any_shape_gives_the_same_bits(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, 6, dim)).astype(np.float32)
    together = fixed_dot(left, right)
    assert np.array_equal(together, [fixed_dot(a, b) for a, b in zip(left, right, strict=True)])
    outer = fixed_dot(left[:, None], right[None])
    assert np.array_equal(together, np.diagonal(outer))


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_exact_of_large_batches_and_many_rows_is_the_same_for_any_sharding(shards: int) -> None:
    rng = np.random.default_rng(5)
    rows, queries = unit(rng.standard_normal((3000, 96))), unit(rng.standard_normal((100, 96)))
    rows[1000:1100] = rows[0]
    queries[0] = rows[0]
    expected = brute_force(rows, queries[:2], 20)
    parts = np.array_split(rows, shards)
    starts = np.cumsum([0, *map(len, parts)])
    answers = [
        Exact().fit(part, first_row=int(start)).search(queries, 20)
        for part, start in zip(parts, starts, strict=False)
    ]
    merged = merge(answers, 20)
    assert same(Answer(merged.scores[:2], merged.rows[:2]), expected)
    assert same(merged, Exact().fit(rows).search(queries, 20))


def test_exact_with_a_worst_row_added_keeps_the_order_of_others() -> None:
    rows, queries = vectors()
    worst = unit(-queries.mean(axis=0, keepdims=True, dtype=np.float64))
    before = Exact().fit(rows).search(queries, len(rows))
    after = Exact().fit(np.concatenate([rows, worst])).search(queries, len(rows) + 1)
    others = after.rows != len(rows)
    assert np.array_equal(after.rows[others].reshape(before.rows.shape), before.rows)
    assert np.array_equal(after.scores[others].reshape(before.scores.shape), before.scores)


def test_hnsw_of_equal_rows_still_answers_k_documents() -> None:
    rows = unit(np.ones((300, 8)))
    answer = Hnsw(m=2, ef_construction=4, ef_search=1).fit(rows).search(rows[:3], 250)
    assert (answer.rows >= 0).all()
    assert all(len(set(line)) == 250 for line in answer.rows.tolist())


def test_ivf_probing_every_list_equals_exact() -> None:
    rows, queries = vectors()
    answer = Ivf(nlist=10, nprobe=10).fit(rows).search(queries, 50)
    assert same(answer, Exact().fit(rows).search(queries, 50))


def test_ivf_with_too_few_rows_is_refused_before_the_build(tmp_path: Path) -> None:
    rows, _ = vectors()
    with pytest.raises(ConfigError, match=r"E-IDX-TRAIN.*10 rows were given, 1950 are needed"):
        Ivf(nlist=50).prepare([rows[:10]], tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_ivf_whose_probed_lists_are_short_is_an_error_and_never_row_minus_one(tmp_path: Path) -> None:
    rows, queries = vectors()
    index = Ivf(nlist=10, nprobe=1)
    searcher = index.open(index.build([rows[:200], rows[200:]], tmp_path))
    with pytest.raises(ConfigError, match=r"E-IDX-SHORT.*k = 390 were asked.*Raise nprobe"):
        searcher.search(queries, 390)


def test_ivf_centroids_do_not_depend_on_the_parts(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((700, 8)))
    index = Ivf(nlist=2, nprobe=1)
    index.prepare([rows], tmp_path / "one")
    index.prepare([rows[:9], rows[9:650], rows[650:]], tmp_path / "three")
    one, three = (np.load(tmp_path / name / "centroids.npy") for name in ("one", "three"))
    assert np.array_equal(one, three)


def test_ivf_with_more_probes_than_lists_is_refused() -> None:
    with pytest.raises(ValueError, match="nprobe = 8 is more than nlist = 4"):
        Ivf(nlist=4)
