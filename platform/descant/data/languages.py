"""Words of languages that prompts written in them need."""

from dataclasses import dataclass
from typing import Literal

LanguageCode = Literal["ar", "en", "hi", "ta", "tr"]


@dataclass(frozen=True, slots=True)
class Words:
    """What joins two sentences in one language."""

    because: str
    """Before the cause of what was said."""
    so: str
    """Before its effect."""
    right: str
    """Asks whether what was said holds."""
    yes: str
    """Before what follows from it."""
    also: str
    """Before what neither follows from it nor contradicts it."""
    no: str
    """Before what contradicts it."""


WORDS: dict[LanguageCode, Words] = {
    "ar": Words("لأن", "لذلك", "صحيح", "نعم", "لذا", "لا"),
    "en": Words("because", "therefore", "right", "Yes", "Also", "No"),
    "hi": Words("क्योंकि", "इसलिए", "सही", "हाँ", "इसलिए", "नहीं"),
    "ta": Words("காரணமாக", "எனவே", "சரியா", "ஆம்", "மேலும்", "இல்லை"),
    "tr": Words("çünkü", "bu yüzden", "doğru", "Evet", "Böylece", "Hayır"),
}
"""Those of the published prompts of XCOPA (ta, tr) and XNLI (ar, en, hi, tr), and the usual ones where there are none.

The Arabic "no" of the published prompt is the word for a number; here it is the one that says no."""

_FINAL = ".!?…।؟۔ "
_TURKISH_SMALL = {"I": "ı", "İ": "i"}


def without_end(text: str) -> str:
    """A sentence without the punctuation it ends in; without any, nothing is taken off."""
    return text.strip().rstrip(_FINAL)


def continued(text: str, language: LanguageCode) -> str:
    """A sentence as it stands behind a connector: its first letter small, as the language has it."""
    first, rest = text[:1], text[1:]
    small = _TURKISH_SMALL.get(first, first.lower()) if language == "tr" else first.lower()
    return small + rest
