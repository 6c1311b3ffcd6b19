"""The contract of a way to extend a tokenizer for a language."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from descant.core.spec import Spec
from descant.vocab.extend import Description

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

    @abstractmethod
    def extend(self, base: "PreTrainedTokenizerFast", corpora: Corpora) -> Description:
        """The extended ``tokenizer.json``: every old id stays, new ones follow. Raises ConfigError for a tokenizer of
        a family that this way does not know."""
