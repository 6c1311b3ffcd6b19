"""Adapt a language model to a language: vocabulary, first rows, continued pre-training, evaluation.

    filter ── split ─┬─ learn_vocabulary ─┬─ initialise ─────────────────┬─ score ─┐
    (both languages) │                    └─ tokenise ── pack ── train ──┼─ score ─┤
                     └─ tokenise (base) ── pack, same bytes ── train ────┴─ score ─┴─ report

Paper: arXiv:2406.14670. Text is budgeted in bytes, so that models with and without new tokens read the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from descant.core.spec import Spec
from descant.models.causal import CausalSpec
from descant.models.generate import Decoding
from descant.run.job import RegisterModel, Results
from descant.stages.adaptation import Adaptation, Vocabulary
from descant.stages.base import Step
from descant.stages.continue_texts import ContinueTexts
from descant.stages.corpora import CORPORA, LANGUAGE
from descant.stages.evaluate_task import EvaluateTask, TaskMeasure
from descant.stages.initialise_embeddings import MODEL
from descant.stages.language_report import LanguageReport, content_of
from descant.stages.language_report_table import terminal_systems
from descant.stages.pack_texts import TextBudget
from descant.stages.prepare_task import PrepareTask
from descant.stages.train_text import START
from descant.stages.training.settings import TextTrainSettings
from descant.tasks import AnyTask
from descant.tasks.translation import Translation
from descant.vocab.initialise import AnyInitialiser
from jobs.language_job import BASE, EXTENDED, LanguageJob


class InitialiserComparison(Spec):
    """Several ways to make first rows, each trained shortly on the same text."""

    initialisers: tuple[AnyInitialiser, ...] = Field(min_length=2)
    """What is compared."""
    budget: TextBudget
    """How much each is trained on."""


class Scored(Spec):
    """A task that systems are scored on, as it is put to a language model."""

    task: AnyTask
    """The task."""
    rows: int | None = Field(None, ge=1)
    """At most this many rows of its test split, drawn by the seed."""
    measures: tuple[TaskMeasure, ...] = ("accuracy",)
    """What is computed over them."""
    max_tokens: int | None = Field(None, ge=8)
    """Longest prompt with its answer; that of the training if left out."""
    decode: Decoding | None = None
    """How answers are generated, where the task is scored by generation."""

    def steps(self, name: str, model: CausalSpec, inputs: Mapping[str, Step], seed: int) -> dict[str, Step]:
        """The evaluation of the system called ``name``, by its role in the report."""
        prepare = PrepareTask(task=self.task, validation_rows=0, test_rows=self.rows, seed=seed)
        stage = EvaluateTask(
            model=model
            if self.max_tokens is None
            else model.model_copy(update={"max_tokens": self.max_tokens}),
            split="test",
            measures=self.measures,
            decoding=self.decode,
            pieces=self.task.pieces if isinstance(self.task, Translation) else None,
            seed=seed,
        )
        data = Step(f"prepare {self.task.name}", prepare)
        scored = Step(f"score {self.task.name}, {name}", stage, {"data": data, **inputs})
        return {f"{name} | task: {self.task.name}": scored}


class AdaptLanguage(LanguageJob):
    """Extend a language model's vocabulary for a language and train it further, against the same without new tokens."""

    job: Literal["adapt_language"] = "adapt_language"
    """This job."""
    model: CausalSpec
    """The base."""
    budget: TextBudget
    """How much text it is trained on."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    training: TextTrainSettings
    """Optimisation and method."""
    compare_initialisers: InitialiserComparison | None = None
    """A comparison of first rows beside it."""
    on: tuple[Scored, ...] = ()
    """Tasks that every system is scored on."""
    score_bytes: int = Field(100_000, ge=1)
    """About how much held-out text of each language every system is scored on."""
    validation_bytes: int = Field(20_000, ge=1)
    """About how much of it is scored while training."""
    num_samples: int = Field(8, ge=1)
    """Held-out texts that every system continues."""
    sample_tokens: int = Field(64, ge=1)
    """Tokens of a continuation."""

    @model_validator(mode="after")
    def _compares_what_is_there(self) -> "AdaptLanguage":
        if self.compare_initialisers is not None and self.vocabulary is None:
            raise ValueError("compare_initialisers needs a vocabulary: there are no new tokens without one")
        return self

    def steps(self) -> Mapping[str, Step]:
        """Scores of every system and the report over them."""
        settings = self.training.seeded(self.seed)
        ways = {name: self._adaptation(vocabulary) for name, vocabulary in self.vocabularies.items()}
        inputs = {"vocabulary": ways[EXTENDED].learned()} if EXTENDED in ways else {}
        inputs |= self._scored(BASE, self._adaptation(None), {})
        for name, way in ways.items():
            trained = way.trained(f"train, {name}", settings, self._packed(way, self.budget), way.start())
            inputs[f"{name} | trained"] = trained
            inputs |= self._scored(name, way, way.with_model(trained, settings))
        compared = self.compare_initialisers.initialisers if self.compare_initialisers is not None else ()
        for one in compared:
            inputs |= self._initialiser(ways[EXTENDED], one, settings)
        names = tuple(one.kind for one in compared)
        stage = LanguageReport(title=self.name, systems=(BASE, *ways), initialisers=names, seed=self.seed)
        return {**inputs, "report": Step("write the report", stage, inputs)}

    def summary(self, results: Results) -> Sequence[Any]:
        """The table of systems and where the report lies."""
        report = results.artifacts["report"]
        stage = LanguageReport.model_validate(report.manifest.spec)
        table = terminal_systems(content_of(stage, results.inputs_of("report")))
        return [table, f"\nreport      {report.path('report') / 'report.html'}"]

    def registration(self) -> RegisterModel | None:
        """The adapted model, judged by bits per byte of the language against the base."""
        if self.register_as is None:
            return None
        names = (f"{self.adapted} | trained", f"{self.adapted} | language", f"{BASE} | language")
        return RegisterModel(self.register_as, *names, "bits_per_byte")

    def _adaptation(self, vocabulary: Vocabulary | None) -> Adaptation:
        return Adaptation(model=self.model, corpora=self.corpora, vocabulary=vocabulary, seed=self.seed)

    def _packed(self, way: Adaptation, budget: TextBudget) -> Step:
        return way.packed(budget, replay=self.replay, validation_bytes=self.validation_bytes)

    def _scored(self, name: str, way: Adaptation, model: Mapping[str, Step]) -> dict[str, Step]:
        """Everything that is measured of a system, by its role in the report."""
        found = {
            f"{name} | {which}": way.scored(
                f"score {which}, {name}", which, model, max_bytes=self.score_bytes
            )
            for which in CORPORA
        }
        writing = ContinueTexts(
            model=self.model,
            num_texts=self.num_samples,
            max_new_tokens=self.sample_tokens,
            seed=self.seed,
        )
        found[f"{name} | written"] = Step(
            f"continue texts, {name}", writing, {"texts": way.texts(LANGUAGE), **model}
        )
        for task in self.on:
            found |= task.steps(name, self.model, model, self.seed)
        return found

    def _initialiser(
        self, way: Adaptation, initialiser: AnyInitialiser, settings: TextTrainSettings
    ) -> dict[str, Step]:
        """The language under first rows before and after the short training, and what that was trained on."""
        assert self.compare_initialisers is not None
        name, start = initialiser.kind, way.start(initialiser)
        sequences = self._packed(way, self.compare_initialisers.budget)
        trained = way.trained(f"train, {name}, short", settings, sequences, start)
        found = {"sequences": sequences}
        for when, model in (("before", {MODEL: start[START]}), ("after", way.with_model(trained, settings))):
            label = f"score language, {name}, {when}"
            found[f"{name} | {when}"] = way.scored(label, LANGUAGE, model, max_bytes=self.score_bytes)
        return found
