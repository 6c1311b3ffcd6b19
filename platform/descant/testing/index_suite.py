"""The promises of every index, as tests to subclass by filling ``index``.

Subclass ``IndexSuite``, with ``VectorSuite`` where vectors are taken and ``ExhaustiveSuite`` where every row
is looked at. The corpus is 400 rows; an index must be able to find ten results for each query in it.
"""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from descant.core.errors import ConfigError, DataError, IntegrityError, NumericsError, PolicyError
from descant.core.fingerprint import file_digest
from descant.indexes import Answer, Content, Index, Searcher, merge

ROWS, QUERIES, DIM, K = 400, 30, 24, 10


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length, float32."""
    rows: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return rows


def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Rows around 20 centres, some of them equal or one bit apart, and queries near the rows."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((20, DIM))
    rows = unit(centres[rng.integers(20, size=ROWS)] + 0.7 * rng.standard_normal((ROWS, DIM)))
    rows[50:90] = rows[3]
    rows[200:220] = np.nextafter(rows[3], np.float32(2))
    queries = unit(rows[rng.integers(ROWS, size=QUERIES)] + 0.1 * rng.standard_normal((QUERIES, DIM)))
    queries[0] = rows[3]
    return rows, queries


def texts() -> tuple[list[str], list[str]]:
    """Texts of common and rare words, some of them equal or empty, and queries with words of both kinds."""
    rng = np.random.default_rng(7)
    rows = [" ".join(f"w{word}" for word in rng.zipf(1.4, rng.integers(1, 20))) for _ in range(ROWS)]
    rows[50:90] = [rows[3]] * 40
    rows[100] = ""
    queries = [" ".join(f"W{word}" for word in rng.zipf(1.4, 6)) for _ in range(QUERIES)]
    queries[:3] = [rows[3], "", "nowhere"]
    return rows, queries


def divided(content: Content, sizes: Sequence[int]) -> list[Content]:
    """``content`` in parts of the given sizes, the last one taking the rest."""
    ends = [*np.cumsum(sizes).tolist(), len(content)]
    return [content[a:b] for a, b in zip([0, *ends], ends, strict=False)]


DIVISIONS = [(), (200,), (50,) * 7, (1, 0, 398)]


def same(left: Answer, right: Answer) -> bool:
    """Whether two answers are equal to the last bit."""
    return np.array_equal(left.scores.view(np.int32), right.scores.view(np.int32)) and np.array_equal(
        left.rows, right.rows
    )


class IndexSuite:
    """Give the fixture ``index``."""

    @pytest.fixture
    def index(self) -> Index:
        raise pytest.UsageError("a subclass gives the index under test")

    @pytest.fixture
    def corpus(self, index: Index) -> Content:
        return (vectors() if index.takes == "vectors" else texts())[0]

    @pytest.fixture
    def queries(self, index: Index) -> Content:
        return (vectors() if index.takes == "vectors" else texts())[1]

    @pytest.fixture
    def folders(self, index: Index, corpus: Content, tmp_path: Path) -> tuple[Path, ...]:
        return index.build(divided(corpus, (200,)), tmp_path)

    @pytest.fixture
    def searcher(self, index: Index, folders: tuple[Path, ...]) -> Searcher:
        return index.open(folders)

    def test_answers_are_best_first_with_ties_by_row(self, searcher: Searcher, queries: Content) -> None:
        scores, rows = searcher.search(queries, K)
        assert [str(scores.dtype), str(rows.dtype)] == ["float32", "int64"]
        assert scores.shape == rows.shape == (QUERIES, K)
        assert ((rows >= 0) & (rows < ROWS)).all()
        falls = scores[:, :-1] > scores[:, 1:]
        assert (falls | ((scores[:, :-1] == scores[:, 1:]) & (rows[:, :-1] < rows[:, 1:]))).all()

    @pytest.mark.parametrize("sizes", DIVISIONS)
    def test_any_division_gives_the_promised_answers(
        self, index: Index, corpus: Content, queries: Content, sizes: tuple[int, ...], tmp_path: Path
    ) -> None:
        whole = index.fit(corpus).search(queries, K)
        answer = index.open(index.build(divided(corpus, sizes), tmp_path)).search(queries, K)
        if index.same_for_any_sharding:
            assert same(answer, whole)
        else:  # as good as the whole: equal scores are equally good
            assert (answer.scores >= whole.scores[:, -1:]).mean() >= index.recall_floor

    def test_shards_searched_apart_and_merged_answer_as_one(
        self, index: Index, folders: tuple[Path, ...], searcher: Searcher, queries: Content
    ) -> None:
        apart = [index.open_shard(folder).search(queries, K) for folder in folders]
        assert same(merge(apart[::-1], K), searcher.search(queries, K))

    def test_a_query_is_answered_alike_alone_and_in_a_batch(
        self, searcher: Searcher, queries: Content
    ) -> None:
        batch = searcher.search(queries, K)
        alone = [searcher.search(queries[i : i + 1], K) for i in range(QUERIES)]
        assert same(Answer(*map(np.concatenate, zip(*alone, strict=True))), batch)

    def test_no_queries_give_an_empty_answer(self, searcher: Searcher, queries: Content) -> None:
        assert searcher.search(queries[:0], K).rows.shape == (0, K)

    def test_building_twice_gives_the_same_bytes(
        self, index: Index, corpus: Content, folders: tuple[Path, ...], tmp_path: Path
    ) -> None:
        again = index.build(divided(corpus, (200,)), tmp_path / "again")
        for first, second in zip(folders, again, strict=True):
            files = sorted(path.name for path in first.iterdir())
            assert files == sorted(path.name for path in second.iterdir())
            assert [file_digest(first / name) for name in files] == [
                file_digest(second / name) for name in files
            ]

    @pytest.mark.parametrize("k", [0, ROWS + 1])
    def test_k_outside_the_corpus_is_refused(self, searcher: Searcher, queries: Content, k: int) -> None:
        with pytest.raises(ConfigError, match=f"E-IDX-K.*{ROWS}"):
            searcher.search(queries, k)

    def test_a_shard_with_fewer_rows_than_k_answers_short(
        self, index: Index, corpus: Content, queries: Content, tmp_path: Path
    ) -> None:
        folders = index.build(divided(corpus, (4, 0)), tmp_path)
        assert index.open_shard(folders[0]).search(queries, K).rows.shape == (QUERIES, 4)
        assert index.open_shard(folders[1]).search(queries, K).rows.shape == (QUERIES, 0)

    def test_a_flipped_bit_in_any_file_is_refused_at_opening(
        self, index: Index, folders: tuple[Path, ...]
    ) -> None:
        for path in sorted(folders[1].iterdir()):
            whole = path.read_bytes()
            if path.name == "index.json":
                continue
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
            with pytest.raises(IntegrityError, match=f"E-IDX-DIGEST.*{path.name}"):
                index.open(folders)
            path.write_bytes(whole)
        assert index.open(folders).num_rows == ROWS

    def test_a_missing_or_extra_file_is_refused_by_name(
        self, index: Index, folders: tuple[Path, ...]
    ) -> None:
        extra = folders[0] / "notes.txt"
        extra.write_text("x")
        with pytest.raises(IntegrityError, match=r"E-IDX-FILES.*notes\.txt"):
            index.open(folders)
        extra.unlink()
        stored = next(path for path in sorted(folders[0].iterdir()) if path.name != "index.json")
        stored.unlink()
        with pytest.raises(IntegrityError, match=f"E-IDX-FILES.*{stored.name}"):
            index.open(folders)

    @pytest.mark.parametrize("name", ["docstore.pkl", "ids.npy", "harmless.txt"])
    def test_a_pickled_side_file_is_refused_and_not_loaded(
        self, index: Index, folders: tuple[Path, ...], name: str, tmp_path: Path
    ) -> None:
        canary = tmp_path / "canary"
        with (folders[0] / name).open("wb") as stream:
            if name.endswith(".npy"):
                np.save(stream, np.array([Opener(canary)], dtype=object), allow_pickle=True)
            else:
                pickle.dump(Opener(canary), stream)
        with pytest.raises(PolicyError, match=f"E-IDX-PICKLE.*{name}"):
            index.open(folders)
        assert not canary.exists()

    def test_another_spec_is_refused_with_the_field(self, index: Index, folders: tuple[Path, ...]) -> None:
        path = folders[0] / "index.json"
        values = json.loads(path.read_text())
        values["spec"]["kind"] = "other"
        path.write_text(json.dumps(values))
        with pytest.raises(IntegrityError, match=r"E-IDX-SPEC.*kind = 'other'"):
            index.open(folders)

    def test_shards_missing_or_out_of_order_are_refused(
        self, index: Index, folders: tuple[Path, ...]
    ) -> None:
        for wrong in (folders[::-1], folders[1:], (folders[0], folders[0])):
            with pytest.raises(IntegrityError, match="E-IDX-SHARDS"):
                index.open(wrong)


class Opener:
    """Unpickled, it opens a file: what a hostile pickle could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return open, (str(self.path), "w")  # type: ignore[return-value]


class VectorSuite:
    """What indexes of vectors promise besides."""

    def test_recall_reaches_the_declared_floor(self, index: Index) -> None:
        rng = np.random.default_rng(3)
        rows = unit(rng.standard_normal((ROWS, DIM)))
        queries = unit(rng.standard_normal((QUERIES, DIM)))
        expected = np.argsort(-(queries.astype(np.float64) @ rows.T.astype(np.float64)), axis=1)[:, :K]
        found = index.fit(rows).search(queries, K).rows
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, expected, strict=True)])
        assert recall >= index.recall_floor

    def test_scores_are_the_exact_inner_products_rounded_once(self, index: Index) -> None:
        rows, queries = vectors()
        answer = index.fit(rows).search(queries, K)
        exact = np.einsum("qd,qkd->qk", queries.astype(np.float128), rows[answer.rows].astype(np.float128))
        assert np.array_equal(answer.scores, exact.astype(np.float32))

    def test_another_dimension_is_refused_with_both(self, searcher: Searcher) -> None:
        with pytest.raises(IntegrityError, match=rf"E-IDX-DIM.*{DIM + 1}.*{DIM}"):
            searcher.search(np.ones((2, DIM + 1), np.float32), K)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_query_that_is_not_finite_is_refused_with_its_row(
        self, searcher: Searcher, queries: np.ndarray, value: float
    ) -> None:
        queries[4, 2] = value
        with pytest.raises(NumericsError, match=r"E-IDX-NAN.*query 4"):
            searcher.search(queries, K)

    @pytest.mark.parametrize(("value", "code"), [(np.nan, "E-IDX-NAN"), (0.0, "E-IDX-ZERO")])
    def test_a_row_without_direction_is_refused_at_the_build(
        self, index: Index, corpus: np.ndarray, value: float, code: str
    ) -> None:
        corpus[[2, 9]] = value
        with pytest.raises(NumericsError, match=rf"{code}.*row 102, 109"):
            index.fit(corpus, first_row=100)

    def test_vectors_of_another_type_are_refused(self, index: Index, corpus: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"E-IDX-SHAPE.*float64"):
            index.fit(corpus.astype(np.float64))


class ExhaustiveSuite:
    """What indexes that look at every row promise besides."""

    def test_permuting_the_corpus_permutes_rows_only(
        self, index: Index, corpus: Content, queries: Content
    ) -> None:
        order = np.random.default_rng(0).permutation(ROWS)
        permuted = corpus[order] if isinstance(corpus, np.ndarray) else [corpus[i] for i in order]
        before = index.fit(corpus).search(queries, ROWS)
        after = index.fit(permuted).search(queries, ROWS)
        assert np.array_equal(before.scores, after.scores)
        assert np.array_equal(by_row(before), by_row(Answer(after.scores, order[after.rows])))


def by_row(answer: Answer) -> np.ndarray:
    """The scores of a full ranking in the order of the rows."""
    return np.take_along_axis(answer.scores, np.argsort(answer.rows, axis=1), axis=1)
