"""The steps from texts in two languages to a language model adapted to one of them, with or without new tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from descant.adapters import Spectral
from descant.core.spec import Spec
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters
from descant.models.causal import CausalSpec
from descant.models.encoder import EncoderSpec
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
    max_held_out_bytes: int = Field(32_000, ge=100)
    """Validation and test documents are cut behind a word to at most so many bytes, so that none outweighs the rest."""
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
class LanguageData:
    """Texts in two languages and the new tokens that a base learns on them.

    In labels of steps ``new`` names these tokens and ``place`` the language.
    """

    model: CausalSpec | EncoderSpec
    corpora: Mapping[CorpusName, Corpus]
    vocabulary: Vocabulary | None
    seed: int
    new: str = "new tokens"
    place: str = ""

    @property
    def tokens(self) -> str:
        """What its tokens are called in labels."""
        return "the base's tokens" if self.vocabulary is None else self.new

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
        split = SplitText(
            tokenizer=corpus.tokenizer,
            test=corpus.test,
            max_held_out_bytes=corpus.max_held_out_bytes,
            seed=self.seed,
            **shares,
        )
        return Step(f"split {which}{self.place}", split, inputs)

    def learned(self) -> Step:
        """The extended tokenizer."""
        assert self.vocabulary is not None
        stage = LearnVocabulary(
            model=self.model.model, extension=self.vocabulary.extension, limits=self.vocabulary.limits
        )
        inputs = {"texts": self.texts(LANGUAGE), "base_texts": self.texts(BASE_LANGUAGE)}
        return Step(f"learn {self.tokens}{self.place}", stage, inputs)


@dataclass(frozen=True, kw_only=True)
class Adaptation(LanguageData):
    """One way from a causal language model to a language."""

    model: CausalSpec

    def start(self, initialiser: AnyInitialiser | None = None) -> Mapping[str, Step]:
        """The base with first rows, by the vocabulary's initialiser or another; nothing without a vocabulary."""
        if self.vocabulary is None:
            return {}
        chosen = initialiser or self.vocabulary.initialiser
        stage = InitialiseEmbeddings(model=self.model, initialiser=chosen, seed=self.seed)
        inputs = {TOKENIZER: self.learned(), "texts": self.texts(LANGUAGE)}
        return {START: Step(f"first rows of {self.tokens}{self.place} by {chosen.kind}", stage, inputs)}

    def packed(self, budget: TextBudget, *, replay: float, validation_bytes: int) -> Step:
        """The text of a training."""
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
        amount = f"{budget.amount:,} {budget.unit}{f', {replay:.3g} replayed' if replay else ''}"
        return Step(f"pack {self.tokens}{self.place}: {amount}", stage, inputs)

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
        return {BASES: Step(f"decompose the weights{self.place}", stage)}

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
