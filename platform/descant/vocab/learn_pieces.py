"""Pieces of a language, learned by SentencePiece (arXiv:1808.06226) as arXiv:2406.14670, section 3.1, does."""

import io
from collections.abc import Iterable, Iterator
from typing import Literal

from descant.vocab.sentencepiece_model import parse

ModelType = Literal["bpe", "unigram"]
_BYTES, _CONTROLS = 256, 3


def learn_pieces(
    texts: Iterable[str], *, num_pieces: int, model_type: ModelType, character_coverage: float
) -> list[tuple[str, float]]:
    """Up to ``num_pieces`` pieces besides the characters, and these, each with its score, as they are learned.

    Texts are read twice, as streams, line by line; no line is too long, and what follows the last full buffer counts
    too. ``bpe`` scores by order (0, -1, -2 …), ``unigram`` by the logarithm of the probability. Characters beyond
    ``character_coverage`` of all are left to bytes. No piece reaches over a space. Numbers depend on nothing else.
    """
    import sentencepiece

    characters: set[str] = set()
    for line in _lines(texts):
        characters.update(line)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(texts),
        model_writer=written,
        model_type=model_type,
        vocab_size=_BYTES + _CONTROLS + len(characters) + num_pieces,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=character_coverage,
        normalization_rule_name="identity",
        max_sentence_length=2**30,
        num_threads=1,
        minloglevel=2,
    )
    return [(one.piece, one.score) for one in parse(written.getvalue()).pieces if one.type == one.NORMAL]


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from filter(None, text.splitlines())
