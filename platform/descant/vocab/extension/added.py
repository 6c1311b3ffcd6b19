"""Frequent words of the language as added tokens, which are found before the tokenizer's model sees a text."""

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal

from descant.vocab.extend import Description, add_tokens
from descant.vocab.extension.base import Corpora, Extension
from descant.vocab.words import cutter, description

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class AddedTokens(Extension):
    """The words that cost the base most tokens; as parts of other words too, they change texts of any language.

    Byte-level decoders take an added token whose letters all lie below U+0144 for bytes, so most Turkish words with ç,
    ö, ü or ğ do not come back from their tokens.
    """

    reversible: ClassVar[bool] = False

    kind: Literal["added_tokens"] = "added_tokens"
    """Added tokens."""
    whole_words: bool = True
    """Whether a token is found as a whole word alone; otherwise wherever its letters stand."""

    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """Words of letters, by the tokens they save: their count times the tokens that they take less one."""
        counts: Counter[str] = Counter()
        for text in corpora.language:
            counts.update(word for word in text.split() if _is_word(word))
        backend = cutter(base)
        words = sorted(counts)
        taken = [len(one.ids) for one in backend.encode_batch(words, add_special_tokens=False)]
        saved = [
            (-counts[word] * (number - 1), word)
            for word, number in zip(words, taken, strict=True)
            if number > 1
        ]
        return add_tokens(
            description(base),
            [word for _, word in sorted(saved)[: self.num_new]],
            whole_words=self.whole_words,
        )


def _is_word(text: str) -> bool:
    """Letters and their marks alone."""
    return all(unicodedata.category(one)[0] in "LM" for one in text)
