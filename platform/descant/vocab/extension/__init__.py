"""Ways to extend a tokenizer: the table."""

from typing import Annotated, Union

from pydantic import Field

from descant.vocab.extension.added import AddedTokens
from descant.vocab.extension.base import Corpora, Extension
from descant.vocab.extension.continued import ContinuedMerges
from descant.vocab.extension.sentencepiece import SentencePiece
from descant.vocab.extension.separate import SeparateMerges
from descant.vocab.extension.wordpiece import WordPieces

__all__ = [
    "EXTENSIONS",
    "AddedTokens",
    "AnyExtension",
    "ContinuedMerges",
    "Corpora",
    "Extension",
    "SentencePiece",
    "SeparateMerges",
    "WordPieces",
]

EXTENSIONS = (ContinuedMerges, SeparateMerges, SentencePiece, WordPieces, AddedTokens)
AnyExtension = Annotated[
    Union[ContinuedMerges, SeparateMerges, SentencePiece, WordPieces, AddedTokens],  # noqa: UP007
    Field(discriminator="kind"),
]
"""Any way to extend a tokenizer, told apart by ``kind``."""
