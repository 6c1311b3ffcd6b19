"""Merges of a tokenizer that is learned on the language alone, appended: the way of arXiv:2406.14670, section 3.1."""

import json
from typing import TYPE_CHECKING, Literal

from descant.vocab.extend import Description, append_merges, from_description
from descant.vocab.extension.base import Corpora, WordExtension
from descant.vocab.merges import Merge
from descant.vocab.words import Family

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SURPLUS = 4
"""The other tokenizer has so many times the tokens wanted, since the base knows some of its pieces."""


class SeparateMerges(WordExtension):
    """The first merges of another tokenizer whose pieces the base lacks; many of them it cannot reach."""

    kind: Literal["separate_merges"] = "separate_merges"
    """Merges learned apart."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Those that can be extended so."""
        return ("byte_level",)

    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """Merges in the order in which they were learned, those whose parts there are."""
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        described, _ = self.described(base)
        fresh = Tokenizer(models.BPE())
        fresh.pre_tokenizer = from_description(described).backend_tokenizer.pre_tokenizer
        trainer = trainers.BpeTrainer(
            vocab_size=256 + _SURPLUS * self.num_new,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        fresh.train_from_iterator(iter(corpora.language), trainer)
        known = set(described["model"]["vocab"])
        merges: list[Merge] = []
        for left, right in json.loads(fresh.to_str())["model"]["merges"]:
            if len(merges) < self.num_new and left + right not in known and {left, right} <= known:
                known.add(left + right)
                merges.append(Merge(left, right, 0, 0))
        return append_merges(described, merges)
