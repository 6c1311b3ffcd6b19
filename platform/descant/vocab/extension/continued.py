"""Merges continued on the base's own segmentation, chosen by what they save on other texts."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.vocab.extend import Description, append_merges, from_description
from descant.vocab.extension.base import Corpora, WordExtension
from descant.vocab.merges import best, continue_merges, gains_on
from descant.vocab.words import Family, count_words, missing_characters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SURPLUS = 1.25
"""So many times the merges wanted are learned; held-out texts choose among them."""


class ContinuedMerges(WordExtension):
    """Byte-pair merges behind the base's own: no piece that cannot be reached, the base's language left alone."""

    kind: Literal["continued_merges"] = "continued_merges"
    """Merges continued."""
    specificity: float = Field(10.0, ge=0)
    """A pair has to be so many times as frequent in the language as in the base's language; 0 does not ask."""
    min_gain: int = Field(2, ge=1)
    """How often a pair stands in the texts it is learned on, at least."""
    min_characters: int = Field(20, ge=1)
    """How often a character that the base lacks has to stand there to become a piece."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Those that can be extended so."""
        return ("byte_level", "spaced")

    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """Characters that the base lacks first, then merges."""
        described, family = self.described(base)
        letters: list[str] = []
        if family == "spaced":
            found = missing_characters(base, corpora.language, min_count=self.min_characters)
            letters = found[: self.num_new]
            described = append_merges(described, [], letters)
        cutting = from_description(described)
        num_merges = self.num_new - len(letters)
        learned = continue_merges(
            count_words(cutting, corpora.language, family),
            count_words(cutting, corpora.base_language, family),
            num_merges=int(SURPLUS * num_merges),
            is_taken=described["model"]["vocab"].__contains__,
            specificity=self.specificity,
            min_gain=self.min_gain,
        )
        gains = gains_on(learned, count_words(cutting, corpora.held_out, family))
        return append_merges(described, best(learned, gains, num_merges))
