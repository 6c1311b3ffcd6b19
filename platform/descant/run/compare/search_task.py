"""Retrieval in a comparison: an encoder, with in-context examples or without (arXiv:2410.20088).

Where the query side alone is adapted, passages keep the vectors of the base and no index is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from descant.artifacts.models import AnyModel
from descant.core.measures import MeasureName
from descant.core.spec import Spec
from descant.data import AnyRetrievalSource
from descant.indexes.exact import Exact
from descant.losses import AnyLoss, InfoNce
from descant.models.encoder import EncoderSpec, Precision
from descant.run.compare.cells import DATA, SCORE, TRAINED, Phase
from descant.run.compare.compared import ComparedTask
from descant.selection import AnySelector
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate
from descant.stages.fetch import Fetch
from descant.stages.mine_examples import MineExamples
from descant.stages.mined import mined
from descant.stages.pair_examples import PairExamples
from descant.stages.train import VECTORS, Train
from descant.stages.training.settings import TrainSettings

EvaluatedSplit = Literal["validation", "test"]
Split = Literal["train", EvaluatedSplit]


class ShownExamples(Spec):
    """In-context examples of queries: which, and how many in training and when scored."""

    selector: AnySelector
    """How they are chosen among the training queries."""
    k_train: int = Field(5, ge=0, le=64)
    """Examples of a training query (arXiv:2410.20088, section 4.1: 5)."""
    k_test: int = Field(5, ge=0, le=64)
    """Examples of a validation or test query."""
    leak_filter: bool = True
    """Never show a passage that is judged relevant for the query itself."""

    def k(self, split: Split) -> int:
        """Examples of a query of ``split``."""
        return self.k_train if split == "train" else self.k_test

    def label(self, split: Split) -> str:
        """``3 lexical examples``."""
        k, unfiltered = self.k(split), "" if self.leak_filter else ", leaks not filtered"
        return f"{k} {self.selector.kind} example{'s' if k > 1 else ''}{unfiltered}"


class SearchTask(ComparedTask):
    """Retrieval by an encoder."""

    kind: Literal["search"] = "search"
    """Retrieval."""
    called: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name, shown in reports."""
    data: AnyRetrievalSource
    """The corpus, its queries and judgements."""
    encoder: EncoderSpec
    """The base with its prompts."""
    measures: tuple[MeasureName, ...] = Field(("ndcg_at_10",), min_length=1)
    """How rankings are scored; the first decides."""
    loss: AnyLoss = InfoNce()
    """What is minimised."""
    num_negatives: int = Field(0, ge=0)
    """Hard negatives per row."""
    adapt: Literal["both", "queries"] = "queries"
    """Whether passages are encoded by the adapted model too, anew for every training, or stay as the base has them."""

    @model_validator(mode="after")
    def _scores_all_queries(self) -> Self:
        if self.rows.test is not None:
            raise ValueError(
                "rows.test is for prepared tasks: retrieval is scored on all test queries of its data"
            )
        return self

    @property
    def name(self) -> str:
        """As set."""
        return self.called

    @property
    def measure(self) -> str:
        """The first."""
        return self.measures[0]

    @property
    def base(self) -> AnyModel:
        """That of the encoder."""
        return self.encoder.model

    @property
    def precision(self) -> Precision:
        """That of the encoder."""
        return self.encoder.precision

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data, and the rankings of the base."""
        return {DATA: self._data(), SCORE: self._scored("test", seed, {}, None)}

    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score``; a retriever's training is not validated before its end."""
        examples: ShownExamples | None = optimisation.get("examples")
        split: EvaluatedSplit = "validation" if phase == "tuning" else "test"
        shown, with_examples = self._shown(examples, "train", seed)
        settings = TrainSettings.model_validate(
            {
                **self.training.model_dump(),
                "loss": self.loss,
                "num_negatives": self.num_negatives,
                "adapt": self.adapt,
                **{name: value for name, value in optimisation.items() if name != "examples"},
            }
        )
        pairs = PairExamples(
            encoder=self.encoder,
            task=self.name,
            max_rows=self.rows.train,
            num_negatives=self.num_negatives,
            seed=seed,
        )
        rows = Step(f"rows of {self.name}{with_examples}", pairs, {"data": self._data(), **shown})
        bases = self.bases(settings.method)
        inputs = {f"rows: {self.name}": rows, **bases}
        if self.adapt == "queries":
            inputs[VECTORS] = self._passages({})
        label = f"train {settings.method.kind} on {self.name}"
        trained = Step(label, Train(encoder=self.encoder, settings=settings), inputs)
        model = {"model": trained, **bases}
        return {TRAINED: trained, SCORE: self._scored(split, seed, model, examples)}

    def _data(self) -> Step:
        set_apart = 0 if "validation" in self.data.splits() else self.rows.validation
        return Step(f"fetch {self.name}", Fetch(source=self.data, validation_queries=set_apart))

    def _passages(self, model: Mapping[str, Step]) -> Step:
        stage = EmbedPassages(encoder=self.encoder)
        return Step(f"embed passages of {self.name}", stage, {"data": self._data(), **model})

    def _shown(
        self, examples: ShownExamples | None, split: Split, seed: int
    ) -> tuple[Mapping[str, Step], str]:
        """``examples`` of the queries of ``split``, out of the training queries, and words for labels; or neither."""
        if examples is None or examples.k(split) == 0:
            return {}, ""
        stage = MineExamples(
            selector=examples.selector,
            k=examples.k(split),
            splits=(split,),
            leak_filter=examples.leak_filter,
            seed=seed,
        )
        label = f"choose {examples.label(split)} for {self.name} ({split})"
        step = mined(label, stage, self._data(), encoder=self.encoder, task=self.name)
        return {"examples": step}, f", {examples.label(split)}"

    def _scored(
        self,
        split: EvaluatedSplit,
        seed: int,
        model: Mapping[str, Step],
        examples: ShownExamples | None,
    ) -> Step:
        data = self._data()
        passages = self._passages(model if self.adapt == "both" else {})
        index = Step(f"index {self.name}", BuildIndex(index=Exact()), {"vectors": passages})
        shown, with_examples = self._shown(examples, split, seed)
        embed = EmbedQueries(encoder=self.encoder, split=split)
        label = f"embed {split} queries of {self.name}{with_examples}"
        queries = Step(label, embed, {"data": data, **model, **shown})
        stage = Evaluate(split=split, measures=self.measures, top_k=100, seed=seed)
        inputs = {"data": data, "index": index, "queries": queries}
        return Step(f"score {self.name} ({split})", stage, inputs)
