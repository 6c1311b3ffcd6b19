"""BLEU and chrF++ against sacrebleu, and intervals over sentences."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from descant.evaluators.overlap import (
    bleu,
    bleu_counts,
    chrf,
    chrf_counts,
    overlap_draws,
    overlap_score,
    sentence_bleu,
)
from descant.evaluators.statistics import percentile_interval

PAIRS = [
    ("the cat sat on the mat .", "the cat is on the mat ."),
    ("(Hello), world! a", "Hello, (world)! a b"),
    ("बिल्ली चटाई पर बैठी", "बिल्ली चटाई पर बैठी है"),
    ("", "nothing was said"),
    ("kedi kedi kedi kedi kedi", "kedi minderde"),
    ("a", "b"),
]
SENTENCE = st.lists(st.sampled_from(["a", "b", "ab", "(c)", "d.", "e", "!"]), max_size=9).map(" ".join)


def bleu_of(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    return np.array([bleu_counts(text.split(), reference.split()) for text, reference in pairs])


def chrf_of(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    return np.array([chrf_counts(text, reference) for text, reference in pairs])


def reference_bleu(pairs: Sequence[tuple[str, str]]) -> float:
    texts, references = zip(*pairs, strict=True)
    return float(BLEU(tokenize="none", force=True).corpus_score(texts, [references]).score) / 100


def reference_chrf(pairs: Sequence[tuple[str, str]], word_order: int = 2) -> float:
    texts, references = zip(*pairs, strict=True)
    return float(CHRF(word_order=word_order).corpus_score(texts, [references]).score) / 100


@pytest.mark.parametrize("num", range(1, len(PAIRS) + 1))
def test_corpus_scores_equal_sacrebleu(num: int) -> None:
    pairs = PAIRS[:num]
    assert float(bleu(bleu_of(pairs).sum(axis=0))) == pytest.approx(reference_bleu(pairs), abs=1e-12)
    assert float(chrf(chrf_of(pairs).sum(axis=0))) == pytest.approx(reference_chrf(pairs), abs=1e-12)


@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=5))
def test_corpus_scores_of_any_texts_equal_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    assert float(bleu(bleu_of(pairs).sum(axis=0))) == pytest.approx(reference_bleu(pairs), abs=1e-12)
    assert float(chrf(chrf_of(pairs).sum(axis=0))) == pytest.approx(reference_chrf(pairs), abs=1e-12)


@given(SENTENCE, SENTENCE)
def test_sentence_scores_equal_sacrebleu(text: str, reference: str) -> None:
    expected = BLEU(tokenize="none", force=True, effective_order=True).sentence_score(text, [reference]).score
    (found,) = sentence_bleu(bleu_of([(text, reference)]))
    assert found == pytest.approx(expected / 100, abs=1e-12)


def test_chrf_counts_words_beside_characters() -> None:
    pairs = PAIRS[:3]
    found = float(chrf(chrf_of(pairs).sum(axis=0)))
    assert found == pytest.approx(reference_chrf(pairs, word_order=2), abs=1e-12)
    assert found != pytest.approx(reference_chrf(pairs, word_order=0), abs=1e-3)


def test_score_of_a_corpus_is_not_the_mean_of_its_sentences() -> None:
    counts_nk = bleu_of(PAIRS[:2])
    assert float(bleu(counts_nk.sum(axis=0))) != pytest.approx(float(sentence_bleu(counts_nk).mean()))


def test_draws_are_the_scores_of_resampled_corpora() -> None:
    generator = np.random.default_rng(1)
    words = ["a", "b", "c", "d", "e"]
    pairs = [
        (" ".join(generator.choice(words, size=8)), " ".join(generator.choice(words, size=8)))
        for _ in range(40)
    ]
    counts_nk = chrf_of(pairs)
    slow = [
        float(
            chrf(
                counts_nk[generator.integers(40, size=40)].sum(axis=0),
            )
        )
        for _ in range(2000)
    ]
    value, interval = overlap_score(counts_nk, chrf, seed=3)
    assert value == float(chrf(counts_nk.sum(axis=0)))
    assert interval == pytest.approx(tuple(percentile_interval(np.array(slow))), abs=0.01)


def test_equal_seeds_draw_the_same_sentences_for_every_system() -> None:
    counts_nk = bleu_of(PAIRS)
    one, other = (overlap_draws(counts, bleu, seed=5) for counts in (counts_nk, counts_nk.copy()))
    assert (one == other).all()
    assert (one != overlap_draws(counts_nk, bleu, seed=6)).any()


def test_no_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="no sentences"):
        overlap_score(np.zeros((0, 10), np.int64), bleu, seed=1)
