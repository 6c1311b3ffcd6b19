"""The two corpora of a language adaptation, as inputs, facts and headings call them."""

from typing import Literal

CorpusName = Literal["language", "base language"]
LANGUAGE: CorpusName = "language"
"""The one that a model is adapted to."""
BASE_LANGUAGE: CorpusName = "base language"
"""The one that it must not forget."""
CORPORA: tuple[CorpusName, ...] = (LANGUAGE, BASE_LANGUAGE)


def bits_of(corpus: str) -> str:
    """The metric of its bits per byte while a model trains."""
    return f"bits_per_byte_{corpus.replace(' ', '_')}"
