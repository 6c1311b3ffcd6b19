"""Retrieval in a comparison: an encoder of which the query side is adapted, so that no index is made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from descant.artifacts.models import AnyModel
from descant.core.measures import MeasureName
from descant.data import AnyRetrievalSource
from descant.indexes.exact import Exact
from descant.losses import AnyLoss, InfoNce
from descant.models.encoder import EncoderSpec, Precision
from descant.run.compare.cells import DATA, SCORE, TRAINED, Phase
from descant.run.compare.compared import ComparedTask
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate
from descant.stages.fetch import Fetch
from descant.stages.pair_examples import PairExamples
from descant.stages.train import VECTORS, Train
from descant.stages.training.settings import TrainSettings


class SearchTask(ComparedTask):
    """Retrieval by an encoder of which the query side is adapted: passages keep the vectors of the base."""

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
        return {DATA: self._data(), SCORE: self._scored("final", seed, {})}

    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score``; a retriever's training is not validated before its end."""
        settings = TrainSettings.model_validate(
            {
                **self.training.model_dump(),
                "loss": self.loss,
                "num_negatives": self.num_negatives,
                "adapt": "queries",
                **optimisation,
            }
        )
        pairs = PairExamples(
            encoder=self.encoder,
            task=self.name,
            max_rows=self.rows.train,
            num_negatives=self.num_negatives,
            seed=seed,
        )
        rows = Step(f"rows of {self.name}", pairs, {"data": self._data()})
        bases = self.bases(settings.method)
        inputs = {f"rows: {self.name}": rows, VECTORS: self._passages(), **bases}
        label = f"train {settings.method.kind} on {self.name}"
        trained = Step(label, Train(encoder=self.encoder, settings=settings), inputs)
        return {TRAINED: trained, SCORE: self._scored(phase, seed, {"model": trained, **bases})}

    def _data(self) -> Step:
        return Step(f"fetch {self.name}", Fetch(source=self.data, validation_queries=self.rows.validation))

    def _passages(self) -> Step:
        return Step(
            f"embed passages of {self.name}", EmbedPassages(encoder=self.encoder), {"data": self._data()}
        )

    def _scored(self, phase: Phase, seed: int, model: Mapping[str, Step]) -> Step:
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        data = self._data()
        index = Step(f"index {self.name}", BuildIndex(index=Exact()), {"vectors": self._passages()})
        embed = EmbedQueries(encoder=self.encoder, split=split)
        queries = Step(f"embed {split} queries of {self.name}", embed, {"data": data, **model})
        stage = Evaluate(split=split, measures=self.measures, top_k=100, seed=seed)
        inputs = {"data": data, "index": index, "queries": queries}
        return Step(f"score {self.name} ({split})", stage, inputs)
