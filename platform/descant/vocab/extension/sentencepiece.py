"""Pieces of a SentencePiece model learned on the language alone, scored below the base's (arXiv:2406.14670, 3.1)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.vocab.choice import choose
from descant.vocab.extend import Description, append_merges, from_description
from descant.vocab.extension.base import Corpora, Extension
from descant.vocab.joins import join_counts, reachable
from descant.vocab.learn_pieces import ModelType, learn_pieces
from descant.vocab.merges import best
from descant.vocab.unigram import append_scored, shifted
from descant.vocab.words import Family, count_words, cutter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SURPLUS = 3
"""So many times the pieces wanted are learned, since the base has some and cannot reach others."""


class SentencePiece(Extension):
    """The base may be any tokenizer of SentencePiece's kind; its own scores, pieces and ids stay.

    Behind a byte-pair base the order of scores decides, so new pieces come after all of its own; those that it cannot
    make are dropped. Behind a Unigram base the sum decides: see ``descant.vocab.unigram``.
    """

    kind: Literal["sentencepiece"] = "sentencepiece"
    """Pieces learned apart by SentencePiece."""
    model_type: ModelType
    """How they are learned; a Unigram base takes ``unigram`` alone."""
    character_coverage: float = Field(0.9995, gt=0.9, le=1)
    """Share of all characters that have pieces, the most frequent ones; arXiv:2406.14670's code has 0.98."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Those that can be extended so."""
        return ("spaced", "unigram") if self.model_type == "unigram" else ("spaced",)

    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """Characters that the base lacks first, then the pieces that save most on the held-out texts."""
        described, family = self.described(base)
        learned = learn_pieces(
            corpora.language,
            num_pieces=SURPLUS * self.num_new,
            model_type=self.model_type,
            character_coverage=self.character_coverage,
        )
        known = base.get_vocab()
        scores = {piece: score for piece, score in learned if piece not in known}
        characters = [piece for piece in scores if len(piece) == 1][: self.num_new]
        pieces = [piece for piece in scores if len(piece) > 1]
        if family == "unigram":
            return self._by_sums(described, shifted(described, scores), characters, pieces, corpora.held_out)
        return self._by_order(described, characters, pieces, corpora.held_out)

    def _by_order(
        self, described: Description, characters: list[str], pieces: list[str], held_out: Iterable[str]
    ) -> Description:
        described = append_merges(described, [], characters)
        cutting = from_description(described)
        model = cutter(cutting).model
        merges = reachable({piece: tuple(one.value for one in model.tokenize(piece)) for piece in pieces})
        gains = join_counts(merges, count_words(cutting, held_out, "spaced"))
        return append_merges(described, best(merges, gains, self.num_new - len(characters)))

    def _by_sums(
        self,
        described: Description,
        scores: Mapping[str, float],
        characters: list[str],
        pieces: list[str],
        held_out: Iterable[str],
    ) -> Description:
        def with_pieces(chosen: Sequence[str]) -> Description:
            return append_scored(described, {piece: scores[piece] for piece in (*characters, *chosen)})

        model = cutter(from_description(with_pieces([]))).model
        chosen = choose(
            {piece: len(model.tokenize(piece)) for piece in pieces},
            self.num_new - len(characters),
            held_out=held_out,
            extended=lambda some: from_description(with_pieces(some)),
        )
        return with_pieces(chosen)
