"""The steps of retrieval that jobs share: data, training rows, and the evaluation of an encoder."""

from collections.abc import Mapping, Sequence

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


class TrainingTask(Spec):
    """One data set to train on; batches never mix tasks."""

    task: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name."""
    data: AnyRetrievalSource
    """Its training rows; its examples come from the same data."""
    instruction: str | None = None
    """What to retrieve, in words; the encoder's own instruction if left out."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many of its queries."""


def evaluated(
    encoder: EncoderSpec,
    data: Step,
    *,
    where: str,
    label: str,
    inputs: Mapping[str, Step],
    shown: Mapping[str, Step],
    index: AnyIndex,
    measures: Sequence[MeasureName],
    top_k: int,
    seed: int,
) -> Step:
    """The test queries of ``data`` answered by an encoder.

    ``inputs`` are what it is made of beside the base (``model``, ``bases``), ``shown`` the in-context examples of its
    queries. ``where`` names the encoder of the passages in labels, ``label`` the system.
    """
    passages = Step(f"embed passages, {where}", EmbedPassages(encoder=encoder), {"data": data, **inputs})
    built = Step(f"index, {where}", BuildIndex(index=index), {"vectors": passages})
    queries = Step(
        f"embed queries, {label}",
        EmbedQueries(encoder=encoder, split="test"),
        {"data": data, **inputs, **shown},
    )
    stage = Evaluate(split="test", measures=tuple(measures), top_k=top_k, seed=seed)
    return Step(f"evaluate {label}", stage, {"data": data, "index": built, "queries": queries})
