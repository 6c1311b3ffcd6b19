"""Pieces chosen by what they save on other texts, for models where any piece may take another's place.

A piece of WordPiece or of a Unigram model needs no others to be built of, and what one saves depends on which others
there are. So the worst of them go a part at a time, as Unigram models are pruned (arXiv:1804.10959), and the rest are
counted again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from descant.core.chunks import chunks
from descant.vocab.words import TEXTS_AT_ONCE, cutter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

KEPT = 0.8
"""Share of the pieces that a round leaves."""


def choose(
    pieces: Mapping[str, int],
    num_pieces: int,
    *,
    held_out: Iterable[str],
    extended: "Callable[[Sequence[str]], PreTrainedTokenizerFast]",
) -> list[str]:
    """Up to ``num_pieces`` of ``pieces`` (piece -> tokens that the base needs for it), in their order.

    ``extended`` makes the tokenizer that has some of them. A piece saves its count in ``held_out`` under that tokenizer
    times the tokens in whose place it stands, less one. Those that save nothing go in any case; of equal ones, the
    later.
    """
    kept = list(pieces)
    while kept:
        counts = token_counts(extended(kept), held_out)
        gains = {piece: counts[piece] * (pieces[piece] - 1) for piece in kept}
        ranked = sorted((piece for piece in kept if gains[piece]), key=lambda piece: -gains[piece])
        if len(ranked) == len(kept) <= num_pieces:
            break
        wanted = set(ranked[: max(num_pieces, int(KEPT * len(ranked)))])
        kept = [piece for piece in kept if piece in wanted]
    return kept


def token_counts(tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str]) -> Counter[str]:
    """How often each token stands in ``texts``."""
    counts: Counter[str] = Counter()
    backend = cutter(tokenizer)
    for batch in chunks(texts, TEXTS_AT_ONCE):
        for encoding in backend.encode_batch(batch, add_special_tokens=False):
            counts.update(encoding.tokens)
    return counts
