"""The steps from texts in two languages to a language model adapted to one of them, with or without new tokens."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from descant.adapters import Spectral
from descant.artifacts.models import AnyModel
from descant.core.spec import Spec
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters
from descant.models.causal import CausalSpec
from descant.stages.base import Step
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.corpora import BASE_LANGUAGE, CORPORA, LANGUAGE, CorpusName
from descant.stages.filter_text import FilterText
from descant.stages.initialise_embeddings import MODEL, InitialiseEmbeddings
from descant.stages.learn_vocabulary import TOKENIZER, LearnVocabulary, SideEffectLimits
from descant.stages.pack_texts import PackTexts, TextBudget
from descant.stages.score_text import ScoreText
from descant.stages.split_text import HELD_OUT, SplitText
from descant.stages.tokenise import Tokenise
from descant.stages.train_text import SEQUENCES, START, TrainText
from descant.stages.training.settings import TextTrainSettings
from descant.vocab.extension import AnyExtension
from descant.vocab.initialise import AnyInitialiser
from descant.vocab.initialise.mean import Mean


class Corpus(Spec):
    """Text in one language."""

    text: RunningText
    """The documents."""
    held_out: RunningText | None = None
    """Documents for validation and test; a share of ``text`` if left out."""
    filters: TextFilters = TextFilters()
    """Which documents are kept."""
    validation: float = Field(0.02, gt=0, lt=1)
    """Share of the documents for validation, without ``held_out``."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share of the documents for test, of ``held_out`` where that is given; jobs that tune need some."""
    tokenizer: float = Field(0.1, gt=0, lt=1)
    """Share of the documents that new tokens are learned on and no model is trained on."""


class Vocabulary(Spec):
    """New tokens."""

    extension: AnyExtension
    """How many, and how they are found."""
    limits: SideEffectLimits = SideEffectLimits()
    """What they may do; the job fails before training where they do more."""
    initialiser: AnyInitialiser = Mean()
    """Where their first rows come from (arXiv:2406.14670, section 3.2: mean)."""


@dataclass(frozen=True, kw_only=True)
class LanguageData(ABC):
    """Texts in two languages and the new tokens learned on them.

    ``tokens`` names its tokens and ``place`` the language in labels of steps.
    """

    corpora: Mapping[CorpusName, Corpus]
    vocabulary: Vocabulary | None
    seed: int
    tokens: str
    place: str = ""

    @property
    @abstractmethod
    def base(self) -> AnyModel:
        """The model whose vocabulary is extended."""

    def texts(self, which: CorpusName) -> Step:
        """A corpus filtered, de-duplicated and split."""
        corpus = self.corpora[which]
        inputs = {
            "texts": Step(
                f"filter {which}{self.place}", FilterText(source=corpus.text, filters=corpus.filters)
            )
        }
        shares: dict[str, Any] = {"validation": corpus.validation}
        if corpus.held_out is not None:
            shares = {}
            stage = FilterText(source=corpus.held_out, filters=corpus.filters)
            inputs[HELD_OUT] = Step(f"filter {which}{self.place}, held out", stage)
        split = SplitText(tokenizer=corpus.tokenizer, test=corpus.test, seed=self.seed, **shares)
        return Step(f"split {which}{self.place}", split, inputs)

    def learned(self) -> Step:
        """The extended tokenizer."""
        assert self.vocabulary is not None
        stage = LearnVocabulary(
            model=self.base, extension=self.vocabulary.extension, limits=self.vocabulary.limits
        )
        inputs = {"texts": self.texts(LANGUAGE), "base_texts": self.texts(BASE_LANGUAGE)}
        return Step(f"learn {self.tokens}{self.place}", stage, inputs)


@dataclass(frozen=True, kw_only=True)
class Adaptation(LanguageData):
    """One way from a causal language model to a language."""

    model: CausalSpec

    @property
    def base(self) -> AnyModel:
        """That of the language model."""
        return self.model.model

    def start(self, initialiser: AnyInitialiser | None = None) -> Mapping[str, Step]:
        """The base with first rows, by the vocabulary's initialiser or another; nothing without a vocabulary."""
        if self.vocabulary is None:
            return {}
        chosen = initialiser or self.vocabulary.initialiser
        stage = InitialiseEmbeddings(model=self.model, initialiser=chosen, seed=self.seed)
        inputs = {TOKENIZER: self.learned(), "texts": self.texts(LANGUAGE)}
        return {START: Step(f"first rows of {self.tokens}{self.place} by {chosen.kind}", stage, inputs)}

    def packed(
        self, budget: TextBudget, *, replay: float, validation_bytes: int, short: bool = False
    ) -> Step:
        """The text of a training; ``short`` for its label."""
        extended = {} if self.vocabulary is None else {TOKENIZER: self.learned()}
        inputs: dict[str, Step] = {
            which: Step(
                f"tokenise {which}{self.place}, {self.tokens}",
                Tokenise(model=self.model.model),
                {"texts": self.texts(which), **extended},
            )
            for which in CORPORA
        }
        stage = PackTexts(
            max_tokens=self.model.max_tokens,
            budget=budget,
            replay=replay,
            validation_bytes=validation_bytes,
            seed=self.seed,
        )
        return Step(f"pack {self.tokens}{self.place}{', short' if short else ''}", stage, inputs)

    def trained(
        self, label: str, settings: TextTrainSettings, sequences: Step, start: Mapping[str, Step]
    ) -> Step:
        """The continued pre-training."""
        stage = TrainText(model=self.model, settings=settings)
        return Step(label, stage, {SEQUENCES: sequences, **self.bases(settings), **start})

    def bases(self, settings: TextTrainSettings) -> Mapping[str, Step]:
        """The singular vectors of the base's weights, where the method trains between them."""
        method = settings.method
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(
            model=self.model.model, precision=self.model.precision, target_modules=method.target_modules
        )
        return {BASES: Step("decompose the weights", stage)}

    def scored(
        self,
        label: str,
        which: CorpusName,
        model: Mapping[str, Step],
        *,
        max_bytes: int,
        split: Literal["validation", "test"] = "validation",
    ) -> Step:
        """Bits per byte of held-out text; ``model`` as ``with_model`` gives it."""
        stage = ScoreText(
            model=self.model,
            split=split,
            max_bytes=max_bytes,
            stride=self.model.max_tokens // 2,
            seed=self.seed,
        )
        return Step(label, stage, {"texts": self.texts(which), **model})

    def with_model(self, trained: Step, settings: TextTrainSettings) -> Mapping[str, Step]:
        """Inputs of what uses a trained model."""
        return {MODEL: trained, **self.bases(settings)}
