"""Pieces for an encoder's WordPiece vocabulary, chosen by what they save on other texts."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.vocab.choice import choose
from descant.vocab.extend import Description, append_pieces, from_description
from descant.vocab.extension.base import Corpora, WordExtension
from descant.vocab.merges import continue_merges
from descant.vocab.wordpiece import as_piece, joinable, missing_letters
from descant.vocab.words import Family, count_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SURPLUS = 2
"""So many times the pieces wanted are proposed."""


class WordPieces(WordExtension):
    """Proposed are neighbours that the base cuts apart, joined by frequency; taken those that save most.

    WordPiece takes the longest piece from the left, so what a piece saves is counted with the tokenizer itself, not by
    merges. BERT's uncased normaliser takes accents and vowel signs away before the model sees them. It stays, unless
    ``keep_marks``: the base's own pieces were learned behind it, and texts of its language that have accents would be
    cut otherwise.
    """

    kind: Literal["wordpiece"] = "wordpiece"
    """Pieces of WordPiece."""
    specificity: float = Field(10.0, ge=0)
    """Neighbours have to be so many times as frequent in the language as in the base's language; 0 does not ask."""
    min_characters: int = Field(20, ge=1)
    """How often a letter that the base lacks has to stand at a word's begin, or inside one, to become a piece there."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Those that can be extended so."""
        return ("wordpiece",)

    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """Letters that the base lacks first, then pieces."""
        described, family = self.described(base)
        found = missing_letters(from_description(described), corpora.language, min_count=self.min_characters)
        letters = found[: self.num_new]
        described = append_pieces(described, letters)
        cutting = from_description(described)
        proposed = continue_merges(
            joinable(count_words(cutting, corpora.language, family)),
            joinable(count_words(cutting, corpora.base_language, family)),
            num_merges=SURPLUS * (self.num_new - len(letters)),
            is_taken=lambda joined: as_piece(joined) in described["model"]["vocab"],
            specificity=self.specificity,
        )
        sizes: dict[str, int] = {}
        for merge in proposed:
            sizes[merge.piece] = sizes.get(merge.left, 1) + sizes.get(merge.right, 1)
        chosen = choose(
            {as_piece(joined): size for joined, size in sizes.items()},
            self.num_new - len(letters),
            held_out=corpora.held_out,
            extended=lambda some: from_description(append_pieces(described, some)),
        )
        return append_pieces(described, chosen)
