"""How far texts overlap with references: BLEU and chrF++ of a corpus, from counts of each sentence.

BLEU (Papineni et al., ACL 2002) over the pieces of a SentencePiece model is spBLEU (arXiv:2106.03193); its smoothing is
sacrebleu's (arXiv:1804.08771), which halves the precision of each order without a match. chrF++ (Popović, WMT 2017)
has six orders of characters, two of words, and recall that counts twice. All scores lie within [0, 1], a hundredth of
what is usually printed; one reference each.

Counts are taken once and summed, so a resampled corpus costs a sum. Equal seeds draw the same sentences for every
system: the difference of two systems' draws is paired.

Legend: n sentences, k counts of a sentence.
"""

import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from descant.core.seeds import seed_for
from descant.evaluators.statistics import NUM_RESAMPLES, Interval, percentile_interval

Formula = Callable[[np.ndarray], np.ndarray]
"""From summed counts, [..., k], to scores, float64 [...]."""

_BLEU_ORDER = 4
_CHARACTER_ORDER, _WORD_ORDER, _BETA = 6, 2, 2


def bleu_counts(tokens: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """int64 [10]: tokens of the text and of its reference, then matches and n-grams of the text, by order."""
    orders = range(1, _BLEU_ORDER + 1)
    counts = [_matched(_grams(tokens, n), _grams(reference, n)) for n in orders]
    matched, possible = ([one[place] for one in counts] for place in (2, 0))
    return np.array([len(tokens), len(reference), *matched, *possible], np.int64)


def bleu(counts_k: np.ndarray) -> np.ndarray:
    """BLEU of summed ``bleu_counts``; 0 where any order has no n-gram."""
    return _bleu(counts_k, np.full(counts_k.shape[:-1], _BLEU_ORDER))


def sentence_bleu(counts_k: np.ndarray) -> np.ndarray:
    """BLEU of sentences by themselves: over those orders that the sentence is long enough for."""
    return _bleu(counts_k, (counts_k[..., 2 + _BLEU_ORDER :] > 0).sum(axis=-1))


def chrf_counts(text: str, reference: str) -> np.ndarray:
    """int64 [24]: n-grams of the text, of the reference and of both, for each order of characters, then of words.

    As sacrebleu has it, an order for which the reference is too short counts nothing of the text either.
    """
    characters = ["".join(one.split()) for one in (text, reference)]
    words = [list(_words(one)) for one in (text, reference)]
    counts = [_matched(*(_grams(one, n) for one in characters)) for n in range(1, _CHARACTER_ORDER + 1)]
    counts += [_matched(*(_grams(one, n) for one in words)) for n in range(1, _WORD_ORDER + 1)]
    counted = [(text * (reference > 0), reference, both) for text, reference, both in counts]
    return np.array(counted, np.int64).ravel()


def chrf(counts_k: np.ndarray) -> np.ndarray:
    """chrF++ of summed ``chrf_counts``: precision and recall are means over the orders that both texts have."""
    text, reference, both = np.moveaxis(
        counts_k.reshape(*counts_k.shape[:-1], -1, 3).astype(np.float64), -1, 0
    )
    is_counted = (text > 0) & (reference > 0)
    num = np.maximum(is_counted.sum(axis=-1), 1)
    precision, recall = (
        np.where(is_counted, both / np.maximum(total, 1), 0.0).sum(axis=-1) / num
        for total in (text, reference)
    )
    weighted = _BETA**2 * precision + recall
    found: np.ndarray = (1 + _BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return found


def overlap_draws(counts_nk: np.ndarray, formula: Formula, *, seed: int) -> np.ndarray:
    """Scores of corpora whose sentences are drawn with replacement: float64 [``NUM_RESAMPLES``].

    Raises ValueError for no sentences.
    """
    n = len(counts_nk)
    if not n:
        raise ValueError("no sentences were counted")
    generator = np.random.default_rng(seed_for(seed, "bootstrap", "overlap"))
    size = max(1, (1 << 20) // n)
    found = []
    for start in range(0, NUM_RESAMPLES, size):
        num = min(size, NUM_RESAMPLES - start)
        drawn = generator.integers(n, size=(num, n), dtype=np.int64) + n * np.arange(num)[:, None]
        times = np.bincount(drawn.ravel(), minlength=num * n).reshape(num, n).astype(np.float64)
        found.append(formula(times @ counts_nk))  # whole numbers below 2^53: exact in any order
    return np.concatenate(found)


def overlap_score(counts_nk: np.ndarray, formula: Formula, *, seed: int) -> tuple[float, Interval]:
    """The score of the corpus and its percentile bootstrap interval over sentences."""
    interval = percentile_interval(overlap_draws(counts_nk, formula, seed=seed))
    return float(formula(counts_nk.sum(axis=0))), interval


def _bleu(counts_k: np.ndarray, orders: np.ndarray) -> np.ndarray:
    length, expected = counts_k[..., 0].astype(np.float64), counts_k[..., 1]
    matched = counts_k[..., 2 : 2 + _BLEU_ORDER].astype(np.float64)
    possible = counts_k[..., 2 + _BLEU_ORDER :]
    is_smoothed = (matched == 0) & (possible > 0)
    smoothed = np.where(is_smoothed, 0.5 ** np.cumsum(is_smoothed, axis=-1), matched)
    precision = smoothed / np.maximum(possible, 1)
    is_used = np.arange(_BLEU_ORDER) < orders[..., None]
    has_score = (matched.sum(axis=-1) > 0) & ~(is_used & (possible == 0)).any(axis=-1)
    logs = np.where(is_used, np.log(np.where(precision > 0, precision, 1)), 0.0).sum(axis=-1)
    brevity = np.minimum(0.0, 1 - expected / np.maximum(length, 1))
    found: np.ndarray = np.where(has_score, np.exp(brevity + logs / np.maximum(orders, 1)), 0.0)
    return found


def _grams(items: Sequence[Hashable], n: int) -> "Counter[tuple[Hashable, ...]]":
    return Counter(zip(*(items[start:] for start in range(n)), strict=False))


def _matched(
    text: "Counter[tuple[Hashable, ...]]", reference: "Counter[tuple[Hashable, ...]]"
) -> tuple[int, int, int]:
    return text.total(), reference.total(), (text & reference).total()


def _words(text: str) -> Iterator[str]:
    """Words, with one ASCII punctuation mark split off the end, else off the beginning."""
    for word in text.split():
        if len(word) > 1 and word[-1] in string.punctuation:
            yield from (word[:-1], word[-1])
        elif len(word) > 1 and word[0] in string.punctuation:
            yield from (word[0], word[1:])
        else:
            yield word
