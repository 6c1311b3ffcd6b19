"""Merges continued on a tokenizer's own segmentation, against the plain way of counting and against the tokenizer."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.vocab.extend import append_merges, from_description
from descant.vocab.merges import Merge, Word, best, continue_merges, gains_on
from descant.vocab.words import count_words, description, family_of
from tests.vocab.bases import BLOOM, ENGLISH, LLAMA3, TURKISH, byte_level, tokens

TEXTS = TURKISH * 2


def joined(word: Word, left: str, right: str) -> Word:
    """From the left, no piece used twice."""
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == (left, right):
            out.append(left + right)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def saved(words: Counter[Word], left: str, right: str) -> int:
    return sum((len(word) - len(joined(word, left, right))) * n for word, n in words.items())


def slowly(
    words: Counter[Word], base: Counter[Word], taken: set[str], num_merges: int, specificity: float
) -> list[tuple[str, str, int, int]]:
    """Every pair counted anew at every step."""
    scale = sum(len(w) * n for w, n in words.items()) / max(1, sum(len(w) * n for w, n in base.items()))
    banned: set[tuple[str, str]] = set()
    found: list[tuple[str, str, int, int]] = []
    while len(found) < num_merges:
        pairs = {pair for word in words for pair in itertools.pairwise(word)} - banned
        ranked = sorted((-saved(words, *pair), pair) for pair in pairs)
        if not ranked or -ranked[0][0] < 2:
            return found
        gain, pair = -ranked[0][0], ranked[0][1]
        effect = saved(base, *pair)
        if pair[0] + pair[1] in taken or gain < specificity * scale * effect:
            banned.add(pair)
            continue
        found.append((*pair, gain, effect))
        words, base = (sum_words(part, pair) for part in (words, base))
    return found


def sum_words(words: Counter[Word], pair: tuple[str, str]) -> Counter[Word]:
    out: Counter[Word] = Counter()
    for word, n in words.items():
        out[joined(word, *pair)] += n
    return out


word = st.text("abc", min_size=1, max_size=7).map(tuple)
corpus = st.dictionaries(word, st.integers(1, 5), max_size=8).map(Counter)


@settings(max_examples=300, deadline=None)
@given(corpus, corpus, st.sets(st.text("abc", min_size=2, max_size=3)), st.sampled_from([0.0, 0.5, 2.0]))
def test_merges_are_those_of_counting_everything_at_every_step(
    words: Counter[Word], base: Counter[Word], taken: set[str], specificity: float
) -> None:
    expected = slowly(words, base, taken, 12, specificity)
    found = continue_merges(
        words, base, num_merges=12, is_taken=taken.__contains__, specificity=specificity if base else 0.0
    )
    if not base:
        expected = slowly(words, base, taken, 12, 0.0)
    assert [(m.left, m.right, m.gain, m.side_effect) for m in found] == expected


@pytest.mark.parametrize("pattern", [None, LLAMA3, BLOOM], ids=["gpt2", "llama3", "bloom"])
def test_what_a_merge_saves_is_what_was_counted(pattern: str | None) -> None:
    base = byte_level(pattern)
    described = description(base)
    words = count_words(base, TEXTS, family_of(described))
    taken = described["model"]["vocab"].__contains__
    merges = continue_merges(words, Counter(), num_merges=40, is_taken=taken)
    assert len(merges) == 40
    number = sum(map(len, tokens(base, TEXTS)))
    for k, merge in enumerate(merges, start=1):
        extended = from_description(append_merges(described, merges[:k]))
        left = sum(map(len, tokens(extended, TEXTS)))
        assert left == number - merge.gain
        number = left


def test_merges_that_english_uses_as_much_are_passed_over() -> None:
    base = byte_level()
    described = description(base)
    english_texts = (*ENGLISH, "evlerimiz is a word, and bahçelerimiz another")
    words, english = (count_words(base, texts, "byte_level") for texts in (TEXTS, english_texts))
    taken = described["model"]["vocab"].__contains__
    free = continue_merges(words, english, num_merges=200, is_taken=taken)
    careful = continue_merges(words, english, num_merges=200, is_taken=taken, specificity=1e9)
    assert any(merge.side_effect for merge in free)
    assert not any(merge.side_effect for merge in careful)
    extended = from_description(append_merges(described, careful))
    assert tokens(extended, english_texts) == tokens(base, english_texts)
    assert careful


def test_order_of_words_changes_nothing() -> None:
    words = count_words(byte_level(), TEXTS, "byte_level")
    turned = Counter(dict(reversed(words.items())))
    first, second = (
        continue_merges(w, Counter(), num_merges=60, is_taken=lambda piece: False) for w in (words, turned)
    )
    assert first == second


def test_no_pair_twice_ends_early() -> None:
    assert continue_merges({("a", "b"): 1}, {}, num_merges=5, is_taken=lambda piece: False) == []
    assert continue_merges({("a", "b"): 2}, {}, num_merges=5, is_taken=lambda piece: False) == [
        Merge("a", "b", 2, 0)
    ]


def test_gains_on_other_texts_are_what_they_save_there() -> None:
    base = byte_level()
    described = description(base)
    known = described["model"]["vocab"].__contains__
    merges = continue_merges(
        count_words(base, TURKISH[:2] * 2, "byte_level"), {}, num_merges=60, is_taken=known
    )
    gains = gains_on(merges, count_words(base, TURKISH[2:], "byte_level"))
    extended = from_description(append_merges(described, merges))
    assert sum(gains) == sum(map(len, tokens(base, TURKISH[2:]))) - sum(
        map(len, tokens(extended, TURKISH[2:]))
    )
    assert 0 in gains


def test_the_best_merges_have_all_their_parts_and_gain_most() -> None:
    a, b, c, d = Merge("x", "y", 9, 0), Merge("xy", "z", 8, 0), Merge("p", "q", 7, 0), Merge("r", "s", 6, 0)
    assert best([a, b, c, d], [5, 4, 3, 0], 4) == [a, b, c]
    assert best([a, b, c, d], [5, 4, 3, 1], 2) == [a, b]
    assert best([a, b, c, d], [1, 9, 3, 2], 2) == [a, b], "the parts of a good piece stay"
    assert best([a, b, c, d], [2, 2, 2, 2], 3) == [a, b, c]
    assert best([a, b, c, d], [0, 0, 0, 0], 4) == []
    assert best([a, b], [3, 0], 2) == [a]
