"""Compare vocabularies for a language: how many new tokens, how their rows begin, how they are trained.

    for every language and way:  learn ── first rows ── pack ── train ── score   `budget` settings, on validation text
                                 the best setting, every seed ── score        on test text

Paper: arXiv:2406.14670, tables 4, 5 and 7. Ways train on the same documents, so on equal bytes, unless one asks for
other text: how much of it, and how much of the base's language, are questions too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from descant.adapters import AnyMethod
from descant.core.spec import Spec
from descant.models.causal import CausalSpec
from descant.run.compare.cells import DATA, FORGETTING, SCORE, TRAINED, Phase, slug
from descant.run.compare.comparison import Comparison
from descant.run.compare.space import Axis, Setting, applied
from descant.stages.adaptation import Adaptation, Corpus, Vocabulary
from descant.stages.base import Step
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE, CorpusName
from descant.stages.pack_texts import TextBudget
from descant.stages.training.settings import Schedule, TextTrainSettings

MEASURE = "bits_per_byte"


class Language(Spec):
    """A language and its text."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name, shown in reports."""
    text: Corpus
    """Its corpus, with a share for test."""
    model: CausalSpec | None = None
    """The base here; the study's if left out."""


class Way(Spec):
    """One way to adapt the base, with what tuning may change."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9 =.,-]{0,62}$")
    """Its name in tables."""
    vocabulary: Vocabulary | None = None
    """Its new tokens; the base's own if left out."""
    method: AnyMethod
    """How the base is trained."""
    text: TextBudget | None = None
    """How much text it reads; as much as the study says if left out."""
    replay: float | None = Field(None, ge=0, lt=1)
    """Share of it that is text of the base's language; the study's if left out."""
    space: Mapping[str, Axis]
    """By name: settings of the training, such as ``learning_rate``, and of the way, such as ``method.r``,
    ``vocabulary.extension.num_new``, ``text.bytes`` and ``replay``."""

    def drawn(self, setting: Setting) -> tuple["Way", dict[str, Any]]:
        """This way with what ``setting`` says of it, and what it says of the training."""
        given = self.model_dump(exclude_unset=True)
        changed, rest = applied(setting, given, ("vocabulary", "method", "text", "replay"))
        return Way.model_validate(changed), rest


class CompareVocabularies(Comparison):
    """Adapt language models to languages in several ways, with equal tuning budgets, on equal bytes unless asked."""

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
    """How much text a training reads."""
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
        """The bases, each once."""
        bases = [self._base(language.name) for language in self.languages]
        return ", ".join(dict.fromkeys(base.model.title for base in bases))

    def base_targets(self, task: str) -> Mapping[str, Step]:
        """The text, and what the base makes of it."""
        base = self._adaptation(task, None)
        return {
            DATA: base.texts(LANGUAGE),
            SCORE: self._scored(task, base, {}, "final"),
            FORGETTING: self._scored(task, base, {}, "final", BASE_LANGUAGE),
        }

    def targets(
        self, task: str, method: str, setting: Setting, *, seed: int, phase: Phase
    ) -> Mapping[str, Step]:
        """One training and its scores; texts are dealt out by the study's seed, trainings drawn by their own."""
        way, training = self._drawn(method, setting)
        settings = self._settings(way, training, seed)
        adaptation = self._adaptation(task, way)
        replay = self.replay if way.replay is None else way.replay
        sequences = adaptation.packed(way.text or self.text, replay=replay, validation_bytes=1)
        trained = adaptation.trained(f"train {method} on {task}", settings, sequences, adaptation.start())
        model = adaptation.with_model(trained, settings)
        targets = {TRAINED: trained, SCORE: self._scored(task, adaptation, model, phase)}
        if phase == "final":
            targets[FORGETTING] = self._scored(task, adaptation, model, phase, BASE_LANGUAGE)
        return targets

    def check_setting(self, task: str, method: str, setting: Setting) -> None:
        """Build the settings: pydantic says what is wrong with them."""
        self.targets(task, method, setting, seed=self.seeds[0], phase="tuning")

    def declared_parameters(self, task: str, method: str, setting: Setting) -> int:
        """From the shapes of the base alone; rows of new tokens are left out."""
        from descant.models.skeleton import causal_skeleton

        way, _ = self._drawn(method, setting)
        found: int = way.method.num_parameters(causal_skeleton(self._base(task).model))
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

    def _language(self, task: str) -> Language:
        return next(language for language in self.languages if language.name == task)

    def _base(self, task: str) -> CausalSpec:
        return self._language(task).model or self.model

    def _drawn(self, method: str, setting: Setting) -> tuple[Way, dict[str, Any]]:
        return next(way for way in self.ways if way.name == method).drawn(setting)

    def _settings(self, way: Way, training: Mapping[str, Any], seed: int) -> TextTrainSettings:
        values = {**self.training.model_dump(), **training, "method": way.method, "seed": seed}
        return TextTrainSettings.model_validate(values)

    def _adaptation(self, task: str, way: Way | None) -> Adaptation:
        return Adaptation(
            model=self._base(task),
            corpora={LANGUAGE: self._language(task).text, BASE_LANGUAGE: self.base_language},
            vocabulary=way.vocabulary if way is not None else None,
            seed=self.seed,
            new=f"{way.vocabulary.extension.num_new:,} tokens of {way.name}"
            if way and way.vocabulary
            else "",
            place=f" of {task}",
        )

    def _scored(
        self,
        task: str,
        adaptation: Adaptation,
        model: Mapping[str, Step],
        phase: Phase,
        which: CorpusName = LANGUAGE,
    ) -> Step:
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        label = f"score {which} of {task} ({split})"
        return adaptation.scored(label, which, model, max_bytes=self.score_bytes, split=split)
