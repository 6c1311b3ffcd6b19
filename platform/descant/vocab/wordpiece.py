"""WordPiece vocabularies (BERT): pieces that begin a word, and others, written ``##``, that go on in it.

For counting, a word's pieces are written as its letters with a space in front of the first, so that two neighbours
joined are what a piece of both would be; no word holds a space.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from descant.vocab.merges import Word

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

INNER = "##"
_START = " "


def joinable(words: Mapping[Word, int]) -> Counter[Word]:
    """Words (as their pieces -> count) with pieces that can be joined."""
    counts: Counter[Word] = Counter()
    for (first, *rest), count in words.items():
        counts[_START + first, *(piece.removeprefix(INNER) for piece in rest)] += count
    return counts


def as_piece(joined: str) -> str:
    """The piece of the vocabulary for neighbours that were joined."""
    return joined[1:] if joined.startswith(_START) else INNER + joined


def missing_letters(
    tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str], *, min_count: int
) -> list[str]:
    """Single letters at the begin of words and inside that are no pieces, the most frequent first.

    They are counted as the normaliser leaves them; those rarer than ``min_count`` are left out. A word with one of them
    is one unknown token, whatever its other letters are.
    """
    known = tokenizer.get_vocab()
    backend = tokenizer.backend_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
            counts[word[0]] += 1
            counts.update(INNER + letter for letter in word[1:])
    missing = [(-count, piece) for piece, count in counts.items() if piece not in known]
    return [piece for count, piece in sorted(missing) if -count >= min_count]
