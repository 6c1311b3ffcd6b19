"""Adapt a language model to a language: vocabulary, first rows, continued pre-training, evaluation.

    filter ── split ─┬─ learn_vocabulary ─┬─ initialise ─────────────────┬─ score ─┐
    (both languages) │                    └─ tokenise ── pack ── train ──┼─ score ─┤
                     └─ tokenise (base) ── pack, same bytes ── train ────┴─ score ─┴─ report

Paper: arXiv:2406.14670. Text is budgeted in bytes, so that models with and without new tokens read the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from descant.adapters import Spectral
from descant.core.spec import Spec
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters
from descant.models.causal import CausalSpec
from descant.run.job import Job, Results
from descant.stages.base import Step
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.continue_texts import ContinueTexts
from descant.stages.evaluate_task import EvaluateTask, TaskMeasure
from descant.stages.filter_text import FilterText
from descant.stages.initialise_embeddings import InitialiseEmbeddings
from descant.stages.language_report import LanguageReport, content_of
from descant.stages.language_report_table import terminal_systems
from descant.stages.learn_vocabulary import TOKENIZER, LearnVocabulary, SideEffectLimits
from descant.stages.pack_texts import BASE as BASE_CORPUS
from descant.stages.pack_texts import LANGUAGE, PackTexts, TextBudget
from descant.stages.prepare_task import PrepareTask
from descant.stages.score_text import ScoreText
from descant.stages.split_text import HELD_OUT, SplitText
from descant.stages.tokenise import Tokenise
from descant.stages.train_text import SEQUENCES, START, TrainText
from descant.stages.training.settings import TextTrainSettings
from descant.tasks import AnyTask
from descant.vocab.extension import AnyExtension
from descant.vocab.initialise import AnyInitialiser
from descant.vocab.initialise.mean import Mean

CorpusName = Literal["language", "base language"]
CORPORA: tuple[CorpusName, ...] = ("language", "base language")
BASE, SAME_TEXT, EXTENDED = "base", "trained on the same text", "extended and trained"


class Corpus(Spec):
    """Text in one language."""

    text: RunningText
    """The documents."""
    held_out: RunningText | None = None
    """Documents for validation; a share of ``text`` if left out."""
    filters: TextFilters = TextFilters()
    """Which documents are kept."""
    validation: float = Field(0.02, ge=0, lt=1)
    """Share of the documents for validation, without ``held_out``."""
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


class InitialiserComparison(Spec):
    """Several ways to make first rows, each trained shortly on the same text."""

    initialisers: tuple[AnyInitialiser, ...] = Field(min_length=2)
    """What is compared."""
    budget: TextBudget
    """How much each is trained on."""


class Scored(Spec):
    """A task that systems are scored on."""

    task: AnyTask
    """The task, rendered for a language model."""
    rows: int | None = Field(None, ge=1)
    """At most this many rows of its test split, drawn by the seed."""
    measures: tuple[TaskMeasure, ...] = ("accuracy",)
    """What is computed over them."""


class AdaptLanguage(Job):
    """Extend a language model's vocabulary for a language and train it further, against the same without new tokens."""

    job: Literal["adapt_language"] = "adapt_language"
    """This job."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9 -]{0,62}$")
    """What it is about, shown in the report."""
    model: CausalSpec
    """The base."""
    language: Corpus
    """The language it is adapted to."""
    base_language: Corpus
    """The language it must not forget."""
    vocabulary: Vocabulary | None = None
    """New tokens; trained with the base's own if left out."""
    budget: TextBudget
    """How much text it is trained on."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of it that is text of the base's language."""
    training: TextTrainSettings
    """Optimisation and method."""
    also_without: bool = True
    """Also train the base on the same text without new tokens: what these are worth beyond training."""
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
        inputs: dict[str, Step] = {}
        trained: dict[str, Step] = {}
        learned = None if self.vocabulary is None else self._learned(self.vocabulary)
        if learned is not None:
            inputs["vocabulary"] = learned
        inputs |= self._scored(BASE, None)
        if self.also_without or learned is None:
            trained[SAME_TEXT] = self._trained(SAME_TEXT, self._packed(None, self.budget))
        if self.vocabulary is not None:
            start = self._initialised(self.vocabulary.initialiser)
            trained[EXTENDED] = self._trained(EXTENDED, self._packed(learned, self.budget), start)
        for name, step in trained.items():
            inputs |= {f"{name} | trained": step} | self._scored(name, step)
        names = self._initialisers()
        for name, one in names.items():
            inputs |= self._initialiser(name, one)
        if self.compare_initialisers is not None:
            inputs["sequences"] = self._packed(learned, self.compare_initialisers.budget, short=True)
        stage = LanguageReport(
            title=self.name, systems=(BASE, *trained), initialisers=tuple(names), seed=self.seed
        )
        return {**inputs, "report": Step("write the report", stage, inputs)}

    def summary(self, results: Results) -> Sequence[Any]:
        """The table of systems and where the report lies."""
        report = results.artifacts["report"]
        stage = LanguageReport.model_validate(report.manifest.spec)
        table = terminal_systems(content_of(stage, results.inputs_of("report")))
        return [table, f"\nreport      {report.path('report') / 'report.html'}"]

    def _initialisers(self) -> dict[str, AnyInitialiser]:
        compared = self.compare_initialisers
        return {} if compared is None else {one.kind: one for one in compared.initialisers}

    def _texts(self, which: CorpusName) -> Step:
        corpus = self.language if which == "language" else self.base_language
        inputs = {"texts": Step(f"filter {which}", FilterText(source=corpus.text, filters=corpus.filters))}
        share = {"validation": corpus.validation}
        if corpus.held_out is not None:
            share = {}
            held_out = FilterText(source=corpus.held_out, filters=corpus.filters)
            inputs[HELD_OUT] = Step(f"filter {which}, held out", held_out)
        stage = SplitText(tokenizer=corpus.tokenizer, seed=self.seed, **share)
        return Step(f"split {which}", stage, inputs)

    def _learned(self, vocabulary: Vocabulary) -> Step:
        stage = LearnVocabulary(
            model=self.model.model, extension=vocabulary.extension, limits=vocabulary.limits
        )
        inputs = {"texts": self._texts("language"), "base_texts": self._texts("base language")}
        return Step("learn new tokens", stage, inputs)

    def _initialised(self, initialiser: AnyInitialiser) -> Step:
        assert self.vocabulary is not None
        stage = InitialiseEmbeddings(model=self.model, initialiser=initialiser, seed=self.seed)
        inputs = {TOKENIZER: self._learned(self.vocabulary), "texts": self._texts("language")}
        return Step(f"first rows by {initialiser.kind}", stage, inputs)

    def _packed(self, learned: Step | None, budget: TextBudget, *, short: bool = False) -> Step:
        which = "the base's tokens" if learned is None else "new tokens"
        extended = {} if learned is None else {TOKENIZER: learned}
        names: dict[str, CorpusName] = {LANGUAGE: "language", BASE_CORPUS: "base language"}
        tokens = {
            role: Step(
                f"tokenise {name}, {which}",
                Tokenise(model=self.model.model),
                {"texts": self._texts(name), **extended},
            )
            for role, name in names.items()
        }
        stage = PackTexts(
            max_tokens=self.model.max_tokens,
            budget=budget,
            replay=self.replay,
            validation_bytes=self.validation_bytes,
            seed=self.seed,
        )
        return Step(f"pack, {which}{', short' if short else ''}", stage, tokens)

    def _trained(self, name: str, sequences: Step, start: Step | None = None) -> Step:
        seed = {} if "seed" in self.training.model_fields_set else {"seed": self.seed}
        stage = TrainText(model=self.model, settings=self.training.model_copy(update=seed))
        inputs = {SEQUENCES: sequences, **self._bases()}
        return Step(f"train, {name}", stage, inputs | ({} if start is None else {START: start}))

    def _bases(self) -> Mapping[str, Step]:
        """The singular vectors of the base's weights, where the method trains between them."""
        method = self.training.method
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(
            model=self.model.model, precision=self.model.precision, target_modules=method.target_modules
        )
        return {BASES: Step("decompose the weights", stage)}

    def _scored(self, name: str, model: Step | None) -> dict[str, Step]:
        """Everything that is measured of a system, by its role in the report."""
        with_model = {} if model is None else {"model": model, **self._bases()}
        found = {
            f"{name} | {corpus}": self._text_score(f"score {corpus}, {name}", corpus, with_model)
            for corpus in CORPORA
        }
        writing = ContinueTexts(
            model=self.model,
            num_texts=self.num_samples,
            max_new_tokens=self.sample_tokens,
            seed=self.seed,
        )
        found[f"{name} | written"] = Step(
            f"continue texts, {name}", writing, {"texts": self._texts("language"), **with_model}
        )
        for scored in self.on:
            prepare = PrepareTask(task=scored.task, validation_rows=0, test_rows=scored.rows, seed=self.seed)
            stage = EvaluateTask(model=self.model, split="test", measures=scored.measures, seed=self.seed)
            data = Step(f"prepare {scored.task.name}", prepare)
            found[f"{name} | task: {scored.task.name}"] = Step(
                f"score {scored.task.name}, {name}", stage, {"data": data, **with_model}
            )
        return found

    def _text_score(self, label: str, corpus: CorpusName, inputs: Mapping[str, Step]) -> Step:
        stage = ScoreText(
            model=self.model,
            max_bytes=self.score_bytes,
            stride=self.model.max_tokens // 2,
            seed=self.seed,
        )
        return Step(label, stage, {"texts": self._texts(corpus), **inputs})

    def _initialiser(self, name: str, initialiser: AnyInitialiser) -> dict[str, Step]:
        assert self.compare_initialisers is not None
        assert self.vocabulary is not None
        start = self._initialised(initialiser)
        sequences = self._packed(self._learned(self.vocabulary), self.compare_initialisers.budget, short=True)
        trained = self._trained(f"{name}, shortly", sequences, start)
        score = "score language"
        return {
            f"{name} | before": self._text_score(f"{score}, {name}, before", "language", {"model": start}),
            f"{name} | after": self._text_score(
                f"{score}, {name}, after", "language", {"model": trained, **self._bases()}
            ),
        }
