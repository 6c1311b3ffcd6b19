"""Compare vocabularies for a language: how many new tokens, how their rows begin, how they are trained.

    for every language and way:  learn ── first rows ── pack ── train ── score   `budget` settings, on validation text
                                 the best setting, every seed ── score        on test text

Paper: arXiv:2406.14670, tables 4 and 5. All ways of a language train on the same documents, so on equal bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from descant.adapters import AnyMethod
from descant.core.spec import Spec
from descant.models.causal import CausalSpec
from descant.run.compare.cells import DATA, FORGETTING, SCORE, TRAINED, Phase, slug
from descant.run.compare.comparison import Comparison
from descant.run.compare.space import Axis, Setting
from descant.stages.adaptation import Adaptation, Corpus, Vocabulary
from descant.stages.base import Step
from descant.stages.corpora import CORPORA, CorpusName
from descant.stages.pack_texts import TextBudget
from descant.stages.training.settings import Schedule, TextTrainSettings

MEASURE = "bits_per_byte"
_METHOD: TypeAdapter[AnyMethod] = TypeAdapter(AnyMethod)


class Language(Spec):
    """A language and its text."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name, shown in reports."""
    text: Corpus
    """Its corpus, with a share for test."""


class Way(Spec):
    """One way to adapt the base, with what tuning may change."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9 =.,-]{0,62}$")
    """Its name in tables."""
    vocabulary: Vocabulary | None = None
    """Its new tokens; the base's own if left out."""
    method: AnyMethod
    """How the base is trained."""
    space: Mapping[str, Axis]
    """By name: settings of the training, such as ``learning_rate``, and of the method, such as ``method.r``."""


class CompareVocabularies(Comparison):
    """Adapt a language model to languages in several ways, with equal tuning budgets and on equal bytes."""

    job: Literal["compare_vocabularies"] = "compare_vocabularies"
    """This job."""
    model: CausalSpec
    """The base."""
    languages: tuple[Language, ...] = Field(min_length=1)
    """The languages; each is a task of the study."""
    base_language: Corpus
    """The language that must not be forgotten, with a share for test."""
    ways: tuple[Way, ...] = Field(min_length=2)
    """What is compared."""
    text: TextBudget
    """How much text each training reads."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    training: Schedule
    """How long trainings are, in sequences per step."""
    score_bytes: int = Field(100_000, ge=1)
    """About how much held-out text is scored."""

    def spaces(self) -> Mapping[str, Mapping[str, Axis]]:
        """As the ways have them."""
        return {way.name: way.space for way in self.ways}

    def tasks(self) -> Sequence[str]:
        """The languages."""
        return [language.name for language in self.languages]

    def measure(self, task: str) -> tuple[str, bool]:
        """Bits per byte of the language."""
        return MEASURE, False

    def base_name(self) -> str:
        """The base model."""
        return self.model.model.title

    def base_targets(self, task: str) -> Mapping[str, Step]:
        """The text, and what the base makes of it."""
        base = self._adaptation(task, None)
        return {
            DATA: base.texts("language"),
            SCORE: self._scored(task, base, {}, "final"),
            FORGETTING: self._scored(task, base, {}, "final", "base language"),
        }

    def targets(
        self, task: str, method: str, setting: Setting, *, seed: int, phase: Phase
    ) -> Mapping[str, Step]:
        """One training and its scores; texts are dealt out by the study's seed, trainings drawn by their own."""
        way = next(way for way in self.ways if way.name == method)
        settings = self._settings(way, setting, seed)
        adaptation = self._adaptation(task, way)
        sequences = adaptation.packed(self.text, replay=self.replay, validation_bytes=1)
        trained = adaptation.trained(f"train {method} on {task}", settings, sequences, adaptation.start())
        model = adaptation.with_model(trained, settings)
        targets = {TRAINED: trained, SCORE: self._scored(task, adaptation, model, phase)}
        if phase == "final":
            targets[FORGETTING] = self._scored(task, adaptation, model, phase, "base language")
        return targets

    def check_setting(self, task: str, method: str, setting: Setting) -> None:
        """Build the settings: pydantic says what is wrong with them."""
        self.targets(task, method, setting, seed=self.seeds[0], phase="tuning")

    def declared_parameters(self, task: str, method: str, setting: Setting) -> int:
        """From the shapes of the base alone; rows of new tokens are left out."""
        from descant.models.load import causal_skeleton

        way = next(way for way in self.ways if way.name == method)
        found: int = self._settings(way, setting, 0).method.num_parameters(causal_skeleton(self.model.model))
        return found

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> "CompareVocabularies":
        for what, names in (("languages", self.tasks()), ("ways", [slug(way.name) for way in self.ways])):
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have one name: {', '.join(names)}")
        for corpus in (*(language.text for language in self.languages), self.base_language):
            if not corpus.test:
                raise ValueError("every corpus needs a share for test: final runs are scored on it")
        return self

    def _settings(self, way: Way, setting: Setting, seed: int) -> TextTrainSettings:
        own = {
            key.removeprefix("method."): value for key, value in setting.items() if key.startswith("method.")
        }
        rest = {key: value for key, value in setting.items() if not key.startswith("method.")}
        method = _METHOD.validate_python({**way.method.model_dump(), **own})
        values: dict[str, Any] = {**self.training.model_dump(), **rest, "method": method, "seed": seed}
        return TextTrainSettings.model_validate(values)

    def _adaptation(self, task: str, way: Way | None) -> Adaptation:
        language = next(language for language in self.languages if language.name == task)
        corpora: dict[CorpusName, Corpus] = dict(
            zip(CORPORA, (language.text, self.base_language), strict=True)
        )
        vocabulary = way.vocabulary if way is not None else None
        tokens = "the base's tokens" if way is None or vocabulary is None else f"tokens of {way.name}"
        return Adaptation(
            model=self.model,
            corpora=corpora,
            vocabulary=vocabulary,
            seed=self.seed,
            tokens=tokens,
            place=f" of {task}",
        )

    def _scored(
        self,
        task: str,
        adaptation: Adaptation,
        model: Mapping[str, Step],
        phase: Phase,
        which: CorpusName = "language",
    ) -> Step:
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        label = f"score {which} of {task} ({split})"
        return adaptation.scored(label, which, model, max_bytes=self.score_bytes, split=split)
