"""Adapt a sentence encoder to a language: new tokens, masked text, pairs; retrieval before and after.

    filter ── split ─┬─ learn_vocabulary ── extend_encoder ── train_masked ── train (pairs) ── evaluate ─┐
    (both languages) └─────────────────────────────────────── train_masked ── train (pairs) ── evaluate ─┼─ report
                                                              the base as it is ────────────── evaluate ─┘

Every system is trained on the same bytes of text and on the same pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from descant.adapters import Spectral
from descant.core.measures import MeasureName
from descant.data import AnyRetrievalSource
from descant.indexes.exact import Exact
from descant.models.encoder import EncoderSpec
from descant.run.job import RegisterModel, Results
from descant.stages.adaptation import Vocabulary
from descant.stages.base import Step
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.encoder_adaptation import BASE_MODEL, EncoderAdaptation, MaskedPretraining, model_of
from descant.stages.fetch import Fetch
from descant.stages.pair_examples import PairExamples
from descant.stages.report import Report, content_of
from descant.stages.report_table import terminal_table
from descant.stages.retrieval_steps import RetrievalTask, RetrievalTest, TrainingTask
from descant.stages.train import Train
from descant.stages.training.settings import TrainSettings
from jobs.language_job import BASE, EXTENDED, SAME_TEXT, LanguageJob


class AdaptEncoder(LanguageJob):
    """Extend an encoder's vocabulary, train it on a language's text and on pairs, compare retrieval with the base's."""

    job: Literal["adapt_encoder"] = "adapt_encoder"
    """This job."""
    encoder: EncoderSpec
    """The base."""
    masked: MaskedPretraining
    """Plain text, whose masked tokens are filled in."""
    train_on: tuple[TrainingTask, ...] = Field(min_length=1)
    """Pairs of texts that belong together."""
    contrastive: TrainSettings
    """How it is trained on the pairs."""
    on: tuple[RetrievalTask, ...] = Field(min_length=1)
    """What every system is tested on; the first decides about registration."""
    measures: tuple[MeasureName, ...] = ("ndcg_at_10", "success_at_1", "mrr_at_10")
    """What is reported; the first one decides."""
    top_k: int = Field(100, ge=1)
    """Passages retrieved per query."""

    @model_validator(mode="after")
    def _names_are_of_one_data_set(self) -> Self:
        known: dict[str, AnyRetrievalSource] = {}
        for named in (self.train_on, self.on):
            names = [one.task for one in named]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two data sets are called {twice[0]}")
            for one in named:
                if known.setdefault(one.task, one.data) != one.data:
                    raise ValueError(f"{one.task} names other data in train_on than in on")
        return self

    @model_validator(mode="after")
    def _data_is_fit(self) -> Self:
        for one in self.on:
            if "test" not in one.data.splits():
                raise ValueError(f"the data of {one.task} has no test split")
        for pairs in self.train_on:
            if "train" not in pairs.data.splits():
                raise ValueError(f"the data of {pairs.task} has no train split")
            if self.contrastive.num_negatives and not pairs.data.has_negatives:
                raise ValueError(
                    f"the data of {pairs.task} has no hard negatives: set contrastive.num_negatives: 0"
                )
        if self.contrastive.adapt == "queries":
            raise ValueError(
                "contrastive.adapt: queries keeps passages as a base has them, which this job changes"
            )
        return self

    def steps(self) -> Mapping[str, Step]:
        """For each test set one evaluation per system, and the report over them."""
        trained = {
            name: self._trained(name, self._adaptation(vocabulary))
            for name, vocabulary in self.vocabularies.items()
        }
        models = {f"trained: {name}": inputs["model"] for name, (_, inputs) in trained.items()}
        data_sets = {test.task: Step(f"fetch {test.task}", Fetch(source=test.data)) for test in self.on}
        bases = {
            task: self._evaluated(task, data, BASE, self.encoder, {}) for task, data in data_sets.items()
        }
        targets = {f"{BASE} | {task}": step for task, step in bases.items()} | models
        for test in self.on:
            data, systems = data_sets[test.task], {BASE: bases[test.task]}
            for name, (encoder, inputs) in trained.items():
                systems[name] = self._evaluated(test.task, data, name, encoder, inputs)
            shown = {f"system: {name}": step for name, step in systems.items()}
            reported = {"data": data, **shown, **models}
            targets[f"report: {test.task}"] = Step(f"report {test.task}", self._report(test.task), reported)
            targets |= {f"{name} | {test.task}": step for name, step in systems.items()}
        return targets

    def summary(self, results: Results) -> Sequence[Any]:
        """The table of systems for each test set, and where the reports lie."""
        shown: list[Any] = []
        for test in self.on:
            name = f"report: {test.task}"
            shown.append(terminal_table(content_of(self._report(test.task), results.inputs_of(name))))
            shown.append(f"report      {results.artifacts[name].path('report') / 'report.html'}\n")
        return shown

    def registration(self) -> RegisterModel | None:
        """The adapted encoder, judged on the first test set against the base."""
        if self.register_as is None:
            return None
        task = self.on[0].task
        names = (f"trained: {self.adapted}", f"{self.adapted} | {task}", f"{BASE} | {task}")
        return RegisterModel(self.register_as, *names, self.measures[0])

    def _adaptation(self, vocabulary: Vocabulary | None) -> EncoderAdaptation:
        return EncoderAdaptation(
            model=self.encoder, corpora=self.corpora, vocabulary=vocabulary, seed=self.seed
        )

    def _trained(self, name: str, way: EncoderAdaptation) -> tuple[EncoderSpec, Mapping[str, Step]]:
        """The encoder after the text, and the inputs of what uses it after the pairs."""
        pretrained = way.pretrained(self.masked)
        encoder = self.encoder.model_copy(update={"model": model_of(pretrained)})
        made = {BASE_MODEL: pretrained, **self._bases(name, encoder, pretrained)}
        rows = {
            f"rows: {task.task}": Step(
                f"{task.task} rows, {name}",
                PairExamples(
                    encoder=encoder.instructed(task.instruction),
                    task=task.task,
                    max_rows=task.max_rows,
                    num_negatives=self.contrastive.num_negatives,
                    seed=self.seed,
                ),
                {"data": Step(f"fetch {task.task}", Fetch(source=task.data)), BASE_MODEL: pretrained},
            )
            for task in self.train_on
        }
        settings = self.contrastive.seeded(self.seed).model_copy(update={"share_with_examples": 0.0})
        step = Step(f"train on pairs, {name}", Train(encoder=encoder, settings=settings), {**rows, **made})
        return encoder, {"model": step, **made}

    def _bases(self, name: str, encoder: EncoderSpec, pretrained: Step) -> Mapping[str, Step]:
        """The singular vectors of its weights, where the method trains between them."""
        method = self.contrastive.method
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(
            model=encoder.model, precision=encoder.precision, target_modules=method.target_modules
        )
        return {BASES: Step(f"decompose the weights, {name}", stage, {BASE_MODEL: pretrained})}

    def _evaluated(
        self, task: str, data: Step, name: str, encoder: EncoderSpec, inputs: Mapping[str, Step]
    ) -> Step:
        test = RetrievalTest(index=Exact(), measures=self.measures, top_k=self.top_k, seed=self.seed)
        return test.scored(encoder, data, f"{task}, {name}", inputs)

    def _report(self, task: str) -> Report:
        pairs = ((EXTENDED, SAME_TEXT),) if self.vocabulary is not None and self.also_without else ()
        return Report(task=task, baseline=BASE, also_compare=pairs, seed=self.seed)
