"""Answer the judged queries of a split from an index, and score the rankings with trec_eval's engine."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, TypeAdapter

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table
from descant.core.errors import ConfigError, IntegrityError
from descant.core.measures import MeasureName, measure
from descant.core.records import Hit
from descant.core.spec import Compute
from descant.data.trec import write_run
from descant.evaluators.evaluation import Evaluation
from descant.evaluators.ranking import PerQuery, score_rankings
from descant.evaluators.statistics import bootstrap_interval
from descant.indexes import AnyIndex, Index
from descant.indexes.merge import Answer, merge
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.fetch import judgements_of
from descant.stages.map_parts import MapCompute, map_light_parts
from descant.stages.vectors import passage_weights_of, read_vectors

SCORES, RUN = "scores", "run"


class Evaluate(Stage):
    """Score one retriever on one split. Inputs: ``data``, ``index``, ``queries``."""

    name: ClassVar[str] = "evaluate"
    compute_class: ClassVar[type[Compute]] = MapCompute

    split: str
    """The split that is judged."""
    measures: tuple[MeasureName, ...]
    """What is computed for every judged query."""
    top_k: int = Field(100, ge=1)
    """Passages retrieved per query."""
    seed: int
    """Draws the bootstrap samples."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``scores`` (one row per judged query) and ``run`` (a TREC run file)."""
        index, queries = context.inputs["index"], context.inputs["queries"]
        check_same_encoder(index, queries)
        num_rows = index.manifest.facts["rows"]
        if self.top_k > num_rows:
            raise ConfigError(
                "E-EVAL-K", f"top_k = {self.top_k}", f"the index holds {num_rows} passages", "Lower top_k."
            )
        ids, vectors = read_vectors(queries)
        shards = index.names("shard-")
        sizes = {name.replace("shard", "answers"): len(ids) for name in shards}
        map_light_parts(
            context, _SearchWork(context.folder, index, vectors, self.top_k), sizes, unit="queries"
        )
        answers = [_read_answer(context.draft.path(name)) for name in sizes]
        passage_ids = [
            i for name in index.names("ids-") for i in read_table(index.path(name)).column("id").to_pylist()
        ]
        best = merge(answers, self.top_k)
        rankings = {
            query_id: [(passage_ids[row], float(score)) for row, score in zip(rows, scores, strict=True)]
            for query_id, rows, scores in zip(ids, best.rows, best.scores, strict=True)
        }
        judged = judgements_of(context.inputs["data"], self.split)
        result = score_rankings(rankings, judged, [measure(name) for name in self.measures])
        self._publish(context, result, rankings)
        return Outcome([SCORES, RUN], self._facts(result, judged, rankings))

    def _publish(
        self, context: StageContext, result: PerQuery, rankings: dict[str, list[tuple[str, float]]]
    ) -> None:
        columns: dict[str, Any] = {"query_id": pa.array(result.query_ids, pa.string())}
        for column, name in enumerate(self.measures):
            columns[name] = pa.array(result.scores[:, column], pa.float64())
        table = pa.table(columns)
        hits = [Hit(q, p, score) for q, ranking in sorted(rankings.items()) for p, score in ranking]
        publish_table(context.folder, SCORES, table)
        publish(
            context.folder,
            RUN,
            lambda path: write_run(path, hits, tag="descant"),
            rows=len(hits),
            suffix=".trec",
        )

    def _facts(self, result: PerQuery, judged: dict[str, dict[str, int]], rankings: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "judged_queries": len(judged),
            "queries_without_ranking": len(set(judged) - set(rankings)),
        }
        for column, name in enumerate(self.measures):
            low, high = bootstrap_interval(result.scores[:, column], seed=self.seed)
            facts |= {
                name: float(np.mean(result.scores[:, column])),
                f"{name}_low": float(low),
                f"{name}_high": float(high),
            }
        return facts


def check_same_encoder(index: Artifact, queries: Artifact) -> None:
    """Raise IntegrityError, naming the fields, when index and queries were not made by the same encoder.

    The queries of a model that adapts their side alone go with passages of its base.
    """
    passages = {**index.manifest.facts["encoder"], "weights": index.manifest.facts.get("weights")}
    asked = {**queries.manifest.spec["encoder"], "weights": passage_weights_of(queries)}
    shared = ("model", "pooling", "attention", "precision", "weights")
    differing = [name for name in shared if passages[name] != asked[name]]
    if differing:
        found = "; ".join(f"{name}: {passages[name]} and {asked[name]}" for name in differing)
        raise IntegrityError(
            "E-IDX-ENCODER",
            f"{index.address} and {queries.address}",
            f"passages and queries were encoded differently ({found})",
            "No query was answered. Embed both sides with the same encoder.",
        )


def evaluation_of(artifact: Artifact, system: str) -> Evaluation:
    """The per-query scores of an ``evaluate`` result."""
    table = read_table(artifact.path(SCORES))
    names = [name for name in table.column_names if name != "query_id"]
    scores = {name: table.column(name).to_numpy() for name in names}
    return Evaluation(system, tuple(table.column("query_id").to_pylist()), scores)


class _SearchWork:
    def __init__(self, folder: Path, index: Artifact, vectors: np.ndarray, k: int) -> None:
        self.folder, self.index, self.vectors, self.k = folder, index, vectors, k

    def __call__(self) -> "_SearchWork":
        self.spec: Index = TypeAdapter(AnyIndex).validate_python(self.index.manifest.spec["index"])
        return self

    def process(self, name: str) -> int:
        shard = self.spec.open_shard(self.index.path(name.replace("answers", "shard")))
        answer = shard.search(self.vectors, self.k)
        table = pa.table(
            {"scores": list(answer.scores), "rows": list(answer.rows)},
            schema=pa.schema([("scores", pa.list_(pa.float32())), ("rows", pa.list_(pa.int64()))]),
        )
        publish_table(self.folder, name, table)
        return len(table)


def _read_answer(path: Path) -> Answer:
    table = read_table(path)
    return Answer(
        np.array(table.column("scores").to_pylist(), np.float32).reshape(len(table), -1),
        np.array(table.column("rows").to_pylist(), np.int64).reshape(len(table), -1),
    )
