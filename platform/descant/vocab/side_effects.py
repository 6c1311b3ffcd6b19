"""What a vocabulary costs: tokens per text, word and byte, before and after it grew, in any language.

Counted on raw texts without special tokens. A *fragment* is a token that is no whole character by itself: a byte that
stands for a missing character, or part of one in a byte-level tokenizer.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from descant.core.chunks import chunks
from descant.vocab.words import TEXTS_AT_ONCE, cutter, is_byte

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What a tokenizer makes of texts."""

    texts: int
    words: int
    """Separated by white space."""
    bytes: int
    """In UTF-8."""
    tokens: int
    new: int
    """Tokens that the base does not have."""
    unknown: int
    fragments: int
    folded: int
    """Words that the normaliser makes equal to another, more frequent word of the texts, other than by case."""

    @property
    def per_text(self) -> float:
        """Mean tokens of a text: fertility as in arXiv:2406.14670, section 3.4."""
        return self.tokens / self.texts

    @property
    def per_word(self) -> float:
        """Mean tokens of a word."""
        return self.tokens / self.words

    @property
    def bytes_per_token(self) -> float:
        """Mean bytes of a token."""
        return self.bytes / self.tokens

    def share(self, part: int) -> float:
        """``part`` of all tokens."""
        return part / self.tokens


@dataclass(frozen=True, slots=True)
class SideEffects:
    """The same texts under the base's tokenizer and the extended one."""

    base: TokenCounts
    extended: TokenCounts
    changed: int
    """Texts that are cut into other tokens."""
    lost: int
    """Texts that the base gives back from its tokens and the extended tokenizer does not."""

    @property
    def change(self) -> float:
        """Relative change of the number of tokens: -0.25 is a quarter fewer."""
        return self.extended.tokens / self.base.tokens - 1

    @property
    def share_changed(self) -> float:
        """Share of texts that are cut into other tokens."""
        return self.changed / self.base.texts


def side_effects(
    base: "PreTrainedTokenizerFast", extended: "PreTrainedTokenizerFast", texts: Iterable[str]
) -> SideEffects:
    """Both tokenizers on ``texts``; raises ValueError where there is none with a word in it."""
    old, new = base.get_vocab(), extended.get_vocab()
    added = frozenset(number for piece, number in new.items() if piece not in old)
    changed = lost = 0
    unknown = base.unk_token_id
    counters = _Counter(base, frozenset(), unknown), _Counter(extended, added, unknown)
    for batch in chunks(texts, TEXTS_AT_ONCE):
        (ids, back), (new_ids, new_back) = (counter.add(batch) for counter in counters)
        changed += sum(a != b for a, b in zip(ids, new_ids, strict=True))
        lost += sum(a == text != b for text, a, b in zip(batch, back, new_back, strict=True))
    found = [counter.counts() for counter in counters]
    if not found[0].words or not found[0].tokens:
        raise ValueError("there is no word in these texts")
    return SideEffects(found[0], found[1], changed, lost)


def is_fragment(piece: str, decoded: str) -> bool:
    """Whether a piece, and what it decodes to by itself, is no whole character."""
    return "\N{REPLACEMENT CHARACTER}" in decoded or is_byte(piece)


class _Counter:
    def __init__(
        self, tokenizer: "PreTrainedTokenizerFast", added: frozenset[int], unknown: int | None
    ) -> None:
        self._backend = cutter(tokenizer)
        self._added, self._unknown = added, unknown
        self._is_fragment: dict[int, bool] = {}
        self._texts = self._words = self._bytes = self._tokens = 0
        self._new = self._unknowns = self._fragments = 0
        self._forms: Counter[str] = Counter()

    def add(self, texts: Sequence[str]) -> tuple[list[list[int]], list[str]]:
        """Count; the ids of each text, and what they decode to."""
        ids = [encoding.ids for encoding in self._backend.encode_batch(texts, add_special_tokens=False)]
        self._texts += len(texts)
        self._words += sum(len(text.split()) for text in texts)
        if self._backend.normalizer is not None:
            self._forms.update(word.casefold() for text in texts for word in text.split())
        self._bytes += sum(len(text.encode()) for text in texts)
        for row in ids:
            self._tokens += len(row)
            self._new += sum(one in self._added for one in row)
            self._unknowns += sum(one == self._unknown for one in row)
            self._fragments += sum(map(self._fragment, row))
        return ids, self._backend.decode_batch(ids, skip_special_tokens=False)

    def counts(self) -> TokenCounts:
        return TokenCounts(
            self._texts,
            self._words,
            self._bytes,
            self._tokens,
            self._new,
            self._unknowns,
            self._fragments,
            self._folded(),
        )

    def _folded(self) -> int:
        most: dict[str, int] = {}
        for word, count in self._forms.items():
            normal = self._backend.normalizer.normalize_str(word)
            most[normal] = max(most.get(normal, 0), count)
        return self._forms.total() - sum(most.values())

    def _fragment(self, number: int) -> bool:
        if number not in self._is_fragment:
            piece, decoded = self._backend.id_to_token(number), self._backend.decode([number])
            self._is_fragment[number] = is_fragment(piece or "", decoded)
        return self._is_fragment[number]
