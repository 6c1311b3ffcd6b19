"""Encode passages or queries with a pool of actors, one part at a time; a single part needs no actor.

Passage vectors are addressed by what made them and nothing else: corpus, weights, passage prompt, pooling. Whoever
compares query prompts, numbers of examples or example sources shares them. Only the query side carries examples.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table, vector_table, vectors_of
from descant.core.errors import IntegrityError
from descant.core.records import Passage, Query, Rejected
from descant.core.spec import Compute
from descant.models.encode import TOKENS_PER_BATCH, Encoder, load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.tokens import TokenRow
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files, reading_bases
from descant.stages.fetch import judgements_of, passages_of, queries_of
from descant.stages.held import Held, rows_within
from descant.stages.map_parts import MapCompute, map_model_parts
from descant.stages.mine_examples import examples_of
from descant.stages.quarantine import encode_around_faults, refuse_many_faults
from descant.stages.vectors import ADAPTS

QUERIES_PER_PART = 256


class EmbedCompute(MapCompute):
    """How encoding is spread."""

    tokens_per_batch: int = Field(TOKENS_PER_BATCH, ge=64)
    """Padded tokens in one batch: about 1,024 on a CPU core, many more on a GPU."""


class EmbedPassages(Stage):
    """Encode a corpus.

    Inputs: ``data``, ``model`` for a fine-tuned encoder and ``bases`` where its method uses them.
    """

    name: ClassVar[str] = "embed"
    compute_class: ClassVar[type[Compute]] = EmbedCompute

    side: Literal["passages"] = "passages"
    """What is encoded."""
    encoder: EncoderSpec
    """The encoder; its query side has no part in the fingerprint."""

    def identity(self) -> Mapping[str, Any]:
        """What decides a passage's vector."""
        encoder = self.encoder
        return {
            "side": self.side,
            "model": encoder.model,
            "pooling": encoder.pooling,
            "attention": encoder.attention,
            "precision": encoder.precision,
            "max_tokens": encoder.max_passage_tokens,
            "template": encoder.prompt.passage,
        }

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.encoder.model.check()

    def held(self, compute: Compute) -> Held:
        """The encoder with a batch of the longest passages."""
        assert isinstance(compute, EmbedCompute)
        rows = rows_within(compute.tokens_per_batch, self.encoder.max_passage_tokens)
        return Held(self.encoder.model, self.encoder.precision, rows)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``vectors-*``, one for each ``passages-*`` part."""
        data = context.inputs["data"]
        names = data.names("passages-")
        sizes = {name.replace("passages", "vectors"): data.part(name).rows for name in names}
        map_model_parts(context, _PassageWork(context, self.encoder), sizes, unit="passages")
        return _embedded(context, sizes)


class EmbedQueries(Stage):
    """Encode the queries of a split, each in its prompt.

    Inputs: ``data``, ``model`` for a fine-tuned encoder and ``bases`` where its method uses them, ``examples`` for
    prompts with in-context examples.
    """

    name: ClassVar[str] = "embed"
    compute_class: ClassVar[type[Compute]] = EmbedCompute

    side: Literal["queries"] = "queries"
    """What is encoded."""
    encoder: EncoderSpec
    """The encoder with its prompt."""
    split: str
    """The split whose judged queries are encoded."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.encoder.model.check()

    def held(self, compute: Compute) -> Held:
        """The encoder with a batch of the longest queries."""
        assert isinstance(compute, EmbedCompute)
        rows = rows_within(compute.tokens_per_batch, self.encoder.max_query_tokens)
        return Held(self.encoder.model, self.encoder.precision, rows)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``vectors-*`` over the judged queries in the order of their ids."""
        total = len(judged_queries(context.inputs["data"], self.split))
        starts = range(0, total, QUERIES_PER_PART)
        sizes = {
            f"vectors-{number:05d}": min(QUERIES_PER_PART, total - start)
            for number, start in enumerate(starts)
        }
        map_model_parts(context, _QueryWork(context, self.encoder, self.split), sizes, unit="queries")
        outcome = _embedded(context, sizes)
        model = context.inputs.get("model")
        adapts = model.manifest.spec["settings"].get("adapt", "both") if model is not None else "both"
        return Outcome(outcome.names, {**outcome.facts, ADAPTS: adapts})


def judged_queries(data: Artifact, split: str) -> list[Query]:
    """The queries with a judgement in ``split``, by id."""
    queries = queries_of(data)
    return [queries[i] for i in sorted(judgements_of(data, split)) if i in queries]


class _Work:
    """What an actor needs to build its worker; plain values that travel cheaply."""

    def __init__(self, context: StageContext, encoder: EncoderSpec) -> None:
        compute = context.compute
        assert isinstance(compute, EmbedCompute)
        self.folder: Path = context.folder
        self.inputs = dict(context.inputs)
        self.encoder_spec = encoder
        self.compute: EmbedCompute = compute
        self.cut: set[str] = set()

    def load(self) -> None:
        """Load the encoder, in the process that will use it."""
        model = self.inputs.get("model")
        adapter = model.path("retriever") / "adapter" if model is not None else None
        device = "cuda" if self.compute.gpus else "cpu"
        with reading_bases(basis_files(self.inputs[BASES]) if BASES in self.inputs else {}):
            self.encoder: Encoder = load_encoder(self.encoder_spec, adapter=adapter, device=device)

    def encode(self, ids: Sequence[str], tokens: Sequence[TokenRow]) -> np.ndarray:
        """Their vectors; which of them were cut is remembered by id, so encoding one again counts it once."""
        self.cut.update(i for i, row in zip(ids, tokens, strict=True) if row.is_cut)
        return self.encoder.encode(tokens, tokens_per_batch=self.compute.tokens_per_batch)

    def publish(
        self, name: str, ids: Sequence[str], vectors: np.ndarray, rejected: Sequence[Rejected]
    ) -> int:
        def check(path: Path) -> None:
            _, stored = vectors_of(read_table(path))
            if stored.shape != vectors.shape or not np.isfinite(stored).all():
                raise IntegrityError(
                    "E-EMB-READBACK", name, "the stored vectors differ", "Run the same command."
                )

        table = vector_table(ids, vectors)
        facts = {"cut": len(self.cut.intersection(ids))}
        publish_table(self.folder, name, table, check=check, rejected=rejected, facts=facts)
        return len(ids)


class _PassageWork(_Work):
    def __call__(self) -> "_PassageWork":
        self.load()
        return self

    def process(self, name: str) -> int:
        source = name.replace("vectors", "passages")
        passages = passages_of(self.inputs["data"], source)

        def encode(rows: Sequence[Passage]) -> np.ndarray:
            return self.encode([row.id for row in rows], self.encoder.passage_rows(rows))

        ids, vectors, rejected = encode_around_faults(encode, passages, lambda row: row.id, source)
        return self.publish(name, ids, vectors, rejected)


class _QueryWork(_Work):
    def __init__(self, context: StageContext, encoder: EncoderSpec, split: str) -> None:
        super().__init__(context, encoder)
        self.split = split

    def __call__(self) -> "_QueryWork":
        self.load()
        self.queries = judged_queries(self.inputs["data"], self.split)
        mined = self.inputs.get("examples")
        self.examples = examples_of(mined, self.inputs["data"], self.split) if mined is not None else None
        return self

    def process(self, name: str) -> int:
        start = int(name.removeprefix("vectors-")) * QUERIES_PER_PART
        queries = self.queries[start : start + QUERIES_PER_PART]

        def encode(rows: Sequence[Query]) -> np.ndarray:
            examples = [self.examples[row.id] for row in rows] if self.examples is not None else None
            tokens = self.encoder.query_rows([row.text for row in rows], examples)
            return self.encode([row.id for row in rows], tokens)

        ids, vectors, rejected = encode_around_faults(encode, queries, lambda row: row.id, name)
        return self.publish(name, ids, vectors, rejected)


def _embedded(context: StageContext, sizes: Mapping[str, int]) -> Outcome:
    parts = [context.draft.published(name) for name in sizes]
    rejected = [Rejected(row.id, row.where, row.reason) for part in parts for row in part.rejected]
    where = f"{context.draft.stage}/{context.draft.fingerprint}"
    refuse_many_faults(rejected, sum(sizes.values()), where)
    rows = sum(part.rows for part in parts)
    cut = sum(part.facts["cut"] for part in parts)
    return Outcome(sizes, {"rows": rows, "rejected": len(rejected), "cut": cut})
