"""What the jobs have in common that adapt a model to a language, with and without new tokens."""

from collections.abc import Mapping

from pydantic import Field

from descant.run.job import Job
from descant.stages.adaptation import Corpus, Vocabulary
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE, CorpusName

BASE, SAME_TEXT, EXTENDED = "base", "trained on the same text", "extended and trained"
"""The systems that are compared."""


class LanguageJob(Job):
    """Two languages, new tokens, and the systems that are compared; the base is a subclass' own."""

    name: str = Field(min_length=1, max_length=80)
    """What it is about: the title of reports of languages."""
    language: Corpus
    """The language it is adapted to."""
    base_language: Corpus
    """The language it must not forget."""
    vocabulary: Vocabulary | None = None
    """New tokens; trained with the base's own if left out."""
    also_without: bool = True
    """Also train the base on the same text without new tokens: what these are worth beyond training."""
    register_as: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")
    """Name in the model registry; not registered if left out."""

    @property
    def corpora(self) -> Mapping[CorpusName, Corpus]:
        """The text in both languages."""
        return {LANGUAGE: self.language, BASE_LANGUAGE: self.base_language}

    @property
    def vocabularies(self) -> Mapping[str, Vocabulary | None]:
        """The new tokens of each system that is trained."""
        found: dict[str, Vocabulary | None] = {}
        if self.also_without or self.vocabulary is None:
            found[SAME_TEXT] = None
        if self.vocabulary is not None:
            found[EXTENDED] = self.vocabulary
        return found

    @property
    def adapted(self) -> str:
        """The system that is registered."""
        return SAME_TEXT if self.vocabulary is None else EXTENDED
