"""Which texts are worth learning from: long enough, made of words, not repeating themselves, in the right language."""

import functools
import unicodedata
from typing import Any

from pydantic import Field

from descant.core.spec import Spec

_KEPT_CONTROLS = frozenset("\n\t")
_PHRASE = 3
"""Words of a phrase whose repetition counts."""
_FEW_WORDS = 20
"""Shorter texts may repeat themselves."""
_LANGUAGE_BYTES = 2000
"""So much of a text is enough to tell its language."""


class TextFilters(Spec):
    """What a text has to be. Reasons are ``empty``, ``too_short``, ``too_long``, ``few_letters``, ``repetitive`` and
    ``other_language``, looked for in this order."""

    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$")
    """ISO 639-1 code of the language (py3langid tells 139 apart); any language if left out."""
    min_confidence: float = Field(0.5, ge=0, le=1)
    """Probability of the language below which a text is taken for another."""
    min_bytes: int = Field(32, ge=1)
    """In UTF-8."""
    max_bytes: int = Field(1_000_000, ge=1)
    """In UTF-8."""
    min_letters: float = Field(0.5, ge=0, le=1)
    """Share of letters and their marks among the characters that are no spaces."""
    max_repetition: float = Field(0.3, ge=0, le=1)
    """Share of three-word phrases that stood in the text before; of texts of 20 words or more."""

    def reason(self, text: str) -> str:
        """Why a normalised text is left out; empty for one that is kept."""
        size = len(text.encode())
        if not size:
            return "empty"
        if size < self.min_bytes:
            return "too_short"
        if size > self.max_bytes:
            return "too_long"
        if letter_share(text) < self.min_letters:
            return "few_letters"
        if repetition(text) > self.max_repetition:
            return "repetitive"
        if self.language is not None and confidence(text, self.language) < self.min_confidence:
            return "other_language"
        return ""


def normalised(text: str) -> str:
    """In composed form (NFC), without control characters, trailing spaces and blank ends."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    text = "".join(
        one for one in text if one in _KEPT_CONTROLS or unicodedata.category(one) not in ("Cc", "Cs")
    )
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def letter_share(text: str) -> float:
    """Letters and marks among the characters that are no spaces; 0 where there are none."""
    seen = [unicodedata.category(one)[0] for one in text if not one.isspace()]
    return sum(kind in "LM" for kind in seen) / len(seen) if seen else 0.0


def repetition(text: str) -> float:
    """Share of three-word phrases that stood before in the text; 0 for texts of few words."""
    words = text.split()
    if len(words) < _FEW_WORDS:
        return 0.0
    phrases = [tuple(words[i : i + _PHRASE]) for i in range(len(words) - _PHRASE + 1)]
    return 1 - len(set(phrases)) / len(phrases)


def confidence(text: str, language: str) -> float:
    """The probability that the beginning of a text is in ``language``."""
    ranked: dict[str, float] = dict(
        _identifier().rank(text.encode()[:_LANGUAGE_BYTES].decode("utf-8", "ignore"))
    )
    return float(ranked.get(language, 0.0))


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
