"""The contract of a way to extend a tokenizer for a language."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from descant.core.errors import ConfigError
from descant.core.spec import Spec
from descant.vocab.extend import Description
from descant.vocab.marks import keep_marks
from descant.vocab.words import FAMILIES, Family, description, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Corpora:
    """Texts that can be read again and again, each a stream."""

    language: Iterable[str]
    """What pieces are learned on."""
    held_out: Iterable[str]
    """Other texts of the language, which pieces are chosen by."""
    base_language: Iterable[str]
    """Texts of the language that the base is good at, which has to stay as it is."""


class Extension(Spec, ABC):
    """A way to extend a tokenizer. Subclasses add ``kind`` and their settings."""

    reversible: ClassVar[bool] = True
    """Whether every text comes back from its tokens that came back from the base's."""

    num_new: int = Field(ge=0)
    """New tokens at most."""

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of tokenizers that it knows: all, unless a subclass says otherwise."""
        return tuple(FAMILIES)

    def described(self, base: "PreTrainedTokenizerFast") -> tuple[Description, Family]:
        """The ``tokenizer.json`` of ``base`` and its family. Raises ConfigError where that is none of ``families``."""
        found = description(base)
        family = family_of(found)
        if family not in self.families:
            raise ConfigError(
                "E-VOC-FAMILY",
                f"{getattr(self, 'kind', type(self).__name__)} for a tokenizer of {FAMILIES[family]}",
                f"these settings know {', '.join(FAMILIES[one] for one in self.families)}",
                "Nothing was learned. Choose another way to extend it.",
            )
        return found, family

    @abstractmethod
    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """The extended ``tokenizer.json``: every old id stays, new ones follow. Raises ConfigError for a tokenizer of
        a family that this way does not know."""


class WordExtension(Extension):
    """A way that joins pieces within words, so that it matters where the base's tokenizer begins a word."""

    keep_marks: bool = False
    """Keep vowel signs and accents within their words, where the base's tokenizer cuts there (Indic scripts under
    GPT-2's pre-tokenizer) or its normaliser takes them away (BERT's uncased one)."""

    def described(self, base: "PreTrainedTokenizerFast") -> tuple[Description, Family]:
        """As ``Extension.described``, with marks kept where they shall be."""
        found, family = super().described(base)
        return (keep_marks(found) if self.keep_marks else found), family
