"""Choose the in-context examples of every target query from the training queries of the same task.

An example is a training query with one passage judged relevant for it. For a training query its own row is never
chosen; for a test query no example may show a passage that is judged relevant for it, unless the leak filter is off.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table
from descant.core.errors import ConfigError
from descant.core.records import Example
from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.selection import AnySelector, ExamplePool, Targets
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.fetch import judgements_of, passages_by_id, queries_of, triples_of
from descant.stages.map_parts import MapCompute, map_light_parts
from descant.stages.vectors import read_vectors

TARGETS_PER_PART = 8192
IDS = pa.list_(pa.string())


class MineExamples(Stage):
    """Choose ``k`` examples for each query of the splits.

    Inputs: ``data``; for selectors that compare vectors also ``vectors_<split>`` of the same encoder.
    """

    name: ClassVar[str] = "mine_examples"
    compute_class: ClassVar[type[Compute]] = MapCompute

    selector: AnySelector
    """How examples are chosen."""
    k: int = Field(ge=0, le=64)
    """Examples per query."""
    splits: tuple[Literal["train", "validation", "test"], ...] = ("train", "test")
    """Whose queries get examples; the examples themselves always come from the training split."""
    leak_filter: bool = True
    """Leave out examples whose passage is judged relevant for the target query."""
    seed: int
    """Draws one passage for training queries that have several relevant ones."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``examples-*``: ``split``, ``query_id``, ``example_ids``, ``passage_ids``; most similar last."""
        data = context.inputs["data"]
        work = _MiningWork(context, self)
        total = len(work.targets_of(data))
        starts = enumerate(range(0, total, TARGETS_PER_PART))
        sizes = {f"examples-{number:05d}": min(TARGETS_PER_PART, total - start) for number, start in starts}
        pool_size = len(work.pool_of(data).ids)
        if pool_size < self.k + 1:
            raise ConfigError(
                "E-MINE-K",
                f"k = {self.k}",
                f"the pool holds {pool_size} examples",
                "Lower k, or use more data.",
            )
        map_light_parts(context, work, sizes, unit="queries")
        return Outcome(sizes, {"pool": pool_size, "targets": sum(sizes.values()), "k": self.k})


def examples_of(mined: Artifact, data: Artifact, split: str) -> dict[str, tuple[Example, ...]]:
    """The examples of each query of ``split``, as texts, the most similar one last."""
    tables = [read_table(mined.path(name)) for name in mined.names("examples-")]
    rows = [row for table in tables for row in table.to_pylist() if row["split"] == split]
    queries = queries_of(data)
    passages = passages_by_id(data, {i for row in rows for i in row["passage_ids"]})
    return {
        row["query_id"]: tuple(
            Example(queries[query_id].text, passages[passage_id].full_text)
            for query_id, passage_id in zip(row["example_ids"], row["passage_ids"], strict=True)
        )
        for row in rows
    }


class _MiningWork:
    """Builds the pool once per actor and selects for one part of the targets at a time."""

    def __init__(self, context: StageContext, stage: MineExamples) -> None:
        self.folder = context.folder
        self.inputs = dict(context.inputs)
        self.data = context.inputs["data"]
        self.stage = stage

    def __call__(self) -> "_MiningWork":
        self.pool = self.pool_of(self.data)
        self.fitted = self.stage.selector.fit(self.pool)
        return self

    def pool_of(self, data: Artifact) -> ExamplePool:
        """Training queries that have a positive passage, in their order."""
        queries = queries_of(data)
        known = {i for t in triples_of(data) for i in t.positive_ids}
        there = set(passages_by_id(data, known))
        rows = [
            (t.query_id, tuple(i for i in t.positive_ids if i in there))
            for t in triples_of(data)
            if t.query_id in queries
        ]
        kept = [(query_id, positives) for query_id, positives in rows if positives]
        ids = tuple(query_id for query_id, _ in kept)
        return ExamplePool(
            ids=ids,
            queries=tuple(queries[query_id].text for query_id in ids),
            passage_ids=tuple(positives for _, positives in kept),
            vectors=self._vectors("train", ids),
        )

    def targets_of(self, data: Artifact) -> list[tuple[str, str]]:
        """Split and id of every target query, split by split."""
        known = set(queries_of(data))
        asked = {"train": {t.query_id for t in triples_of(data)}}
        asked |= {split: set(judgements_of(data, split)) for split in self.stage.splits if split != "train"}
        return [(split, i) for split in self.stage.splits for i in sorted(asked[split] & known)]

    def process(self, name: str) -> int:
        start = int(name.removeprefix("examples-")) * TARGETS_PER_PART
        targets = self.targets_of(self.data)[start : start + TARGETS_PER_PART]
        tables = []
        for split in self.stage.splits:
            ids = [i for where, i in targets if where == split]
            rows_qk = self.fitted.select(self._targets(ids, split), self.stage.k)
            columns = {
                "split": pa.array([split] * len(ids), pa.string()),
                "query_id": pa.array(ids, pa.string()),
                "example_ids": pa.array([[self.pool.ids[r] for r in rows] for rows in rows_qk], IDS),
                "passage_ids": pa.array([[self._passage(r) for r in rows] for rows in rows_qk], IDS),
            }
            tables.append(pa.table(columns))
        table = pa.concat_tables(tables)
        publish_table(self.folder, name, table)
        return len(table)

    def _targets(self, ids: list[str], split: str) -> Targets:
        queries = queries_of(self.data)
        relevant: list[frozenset[str]] = [frozenset()] * len(ids)
        if self.stage.leak_filter:
            judged = judgements_of(self.data, split) if split in self.stage.splits else {}
            positives = (
                {t.query_id: t.positive_ids for t in triples_of(self.data)} if split == "train" else {}
            )
            relevant = [
                frozenset(p for p, grade in judged.get(i, {}).items() if grade > 0)
                | set(positives.get(i, ()))
                for i in ids
            ]
        texts = tuple(queries[i].text for i in ids)
        return Targets(tuple(ids), texts, tuple(relevant), self._vectors(split, ids))

    def _vectors(self, split: str, ids: Sequence[str]) -> np.ndarray | None:
        """float32 [ids, dim] of the queries, for selectors that need them."""
        if not self.stage.selector.needs_vectors:
            return None
        encoded, vectors = read_vectors(self.inputs[f"vectors_{split}"])
        row_of = {query_id: row for row, query_id in enumerate(encoded)}
        return vectors[[row_of[query_id] for query_id in ids]]

    def _passage(self, row: int) -> str:
        """The passage shown for a pool row: one of its relevant ones, the same wherever the row is chosen."""
        passages = self.pool.passage_ids[row]
        generator = np.random.default_rng(seed_for(self.stage.seed, "example passage", self.pool.ids[row]))
        return passages[int(generator.integers(len(passages)))]
