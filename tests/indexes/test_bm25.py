import math
import re
from pathlib import Path

import bm25s
import numpy as np
import pytest

from descant.core.errors import DataError
from descant.indexes import Bm25
from descant.testing.index_suite import texts


def slow_bm25(corpus: list[str], query: str, k1: float, b: float) -> list[float]:
    """The published formula, one text and one word at a time."""
    words = [re.findall(r"\w+", text.lower()) for text in corpus]
    average = sum(map(len, words)) / len(words)
    scores = [0.0] * len(corpus)
    for word in re.findall(r"\w+", query.lower()):
        holding = sum(word in text for text in words)
        idf = math.log(1 + (len(corpus) - holding + 0.5) / (holding + 0.5))
        for i, text in enumerate(words):
            tf = text.count(word)
            scores[i] += idf * tf / (k1 * (1 - b + b * len(text) / average) + tf)
    return scores


def test_bm25_scores_equal_the_formula() -> None:
    corpus = ["The cat sat on the mat.", "A dog; the DOG ate.", "", "mat mat mat", "5 N of force"]
    queries = ["the dog", "mat, mat and 5", "nothing here"]
    scores, rows = Bm25(k1=1.2, b=0.75).fit(corpus).search(queries, 5)
    for query, line, found in zip(queries, scores, rows, strict=True):
        expected = slow_bm25(corpus, query, 1.2, 0.75)
        assert line == pytest.approx([expected[row] for row in found], rel=1e-6)


def test_bm25_scores_equal_those_of_bm25s_to_the_bit() -> None:
    corpus, queries = texts()
    tokens = [
        bm25s.tokenize(part, token_pattern=r"(?u)\w+", stopwords=[], show_progress=False)
        for part in (corpus, queries)
    ]
    bare = bm25s.BM25(k1=0.9, b=0.4)
    bare.index(tokens[0], show_progress=False)
    expected = bare.retrieve(tokens[1], k=len(corpus), show_progress=False).scores
    assert np.array_equal(Bm25().fit(corpus).search(queries, len(corpus)).scores, expected)


def test_bm25_shard_folder_is_readable_by_bm25s(tmp_path: Path) -> None:
    corpus, _ = texts()
    Bm25().build_shard(corpus, tmp_path / "shard")
    assert bm25s.BM25.load(tmp_path / "shard").scores["num_docs"] == len(corpus)


def test_bm25_text_without_shared_words_scores_zero_in_row_order() -> None:
    scores, rows = Bm25().fit(["x", "a", "y", "b"]).search(["a"], 4)
    assert rows.tolist() == [[1, 0, 2, 3]]
    assert scores[0, 1:].tolist() == [0, 0, 0]


def test_bm25_english_stop_words_are_left_out_of_texts_and_queries() -> None:
    corpus = ["the the the", "of rain"]
    assert Bm25(stop_words="english").fit(corpus).search(["the"], 2).scores.tolist() == [[0, 0]]
    assert Bm25().fit(corpus).search(["the"], 2).scores[0, 0] > 0


def test_bm25_of_empty_texts_scores_zero() -> None:
    assert Bm25().fit(["", ""]).search(["a"], 2).scores.tolist() == [[0, 0]]


@pytest.mark.parametrize("content", ["one text", np.zeros((2, 3), np.float32)])
def test_bm25_of_anything_but_texts_is_refused(content: str | np.ndarray) -> None:
    with pytest.raises(DataError, match="E-IDX-SHAPE"):
        Bm25().fit(content)
