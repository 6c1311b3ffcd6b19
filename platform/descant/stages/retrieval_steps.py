"""The steps of retrieval that jobs share: data, training rows, and the evaluation of an encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from descant.core.measures import MeasureName
from descant.core.spec import Spec
from descant.data import AnyRetrievalSource
from descant.indexes import AnyIndex
from descant.models.encoder import EncoderSpec
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate


class RetrievalTask(Spec):
    """A retrieval data set."""

    task: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name, shown in reports."""
    data: AnyRetrievalSource
    """Its corpus, queries and judgements; its examples come from the same data."""


class TrainingTask(RetrievalTask):
    """One data set to train on; batches never mix tasks."""

    instruction: str | None = None
    """What to retrieve, in words; the encoder's own instruction if left out."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many of its queries."""


@dataclass(frozen=True, kw_only=True)
class RetrievalTest:
    """How test queries are answered and scored."""

    index: AnyIndex
    measures: Sequence[MeasureName]
    top_k: int
    seed: int

    def scored(
        self,
        encoder: EncoderSpec,
        data: Step,
        label: str,
        inputs: Mapping[str, Step],
        *,
        where: str = "",
        examples: Step | None = None,
    ) -> Step:
        """The test queries of ``data`` answered by an encoder and scored.

        ``inputs`` are what it is made of beside the base (``model``, ``bases``), ``examples`` those in context of its
        queries. ``label`` names the system and ``where``, if that is another name, the encoder of the passages.
        """
        passages = Step(
            f"embed passages, {where or label}", EmbedPassages(encoder=encoder), {"data": data, **inputs}
        )
        built = Step(f"index, {where or label}", BuildIndex(index=self.index), {"vectors": passages})
        shown = {"examples": examples} if examples is not None else {}
        queries = Step(
            f"embed queries, {label}",
            EmbedQueries(encoder=encoder, split="test"),
            {"data": data, **inputs, **shown},
        )
        stage = Evaluate(split="test", measures=tuple(self.measures), top_k=self.top_k, seed=self.seed)
        return Step(f"evaluate {label}", stage, {"data": data, "index": built, "queries": queries})
