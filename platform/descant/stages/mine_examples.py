"""Choose the in-context examples of every target query from the training queries of the same task.

An example is a training query with one passage judged relevant for it. For a training query its own row is never
chosen; for a test query no example may show a passage that is judged relevant for it, unless the leak filter is off.
"""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.artifacts.tables import read_table, write_table
from descant.core.errors import ConfigError
from descant.core.records import Example
from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.selection import AnySelector, ExamplePool, Targets
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.fetch import judgements_of, passages_by_id, queries_of, triples_of
from descant.stages.map_parts import MapCompute, map_light_parts

TARGETS_PER_PART = 8192


class MineExamples(Stage):
    """Choose ``k`` examples for each query of the splits. Input: ``data``."""

    name: ClassVar[str] = "mine_examples"
    compute_class: ClassVar[type[Compute]] = MapCompute

    selector: AnySelector
    """How examples are chosen."""
    k: int = Field(ge=0, le=64)
    """Examples per query."""
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    """Whose queries get examples; the examples themselves always come from the training split."""
    leak_filter: bool = True
    """Leave out examples whose passage is judged relevant for the target query."""
    seed: int
    """Draws one passage for training queries that have several relevant ones."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``<split>-*``: ``query_id``, ``example_ids`` and ``passage_ids``, the most similar example last."""
        data = context.inputs["data"]
        work = _MiningWork(context, self)
        sizes: dict[str, int] = {}
        for split in self.splits:
            total = len(work.targets_of(data, split))
            for number, start in enumerate(range(0, total, TARGETS_PER_PART)):
                sizes[f"{split}-{number:05d}"] = min(TARGETS_PER_PART, total - start)
        pool_size = len(work.pool_of(data).ids)
        if pool_size < self.k + 1:
            raise ConfigError(
                "E-MINE-K", f"k = {self.k}", f"the pool holds {pool_size} examples", "Lower k, or use more data."
            )
        map_light_parts(context, work, sizes, unit="queries")
        return Outcome(sizes, {"pool": pool_size, "targets": sum(sizes.values()), "k": self.k})


def examples_of(mined: Artifact, data: Artifact, split: str) -> dict[str, tuple[Example, ...]]:
    """The examples of each query of ``split``, as texts, the most similar one last."""
    tables = [read_table(mined.path(name)) for name in mined.names(f"{split}-")]
    rows = [row for table in tables for row in table.to_pylist()]
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
        return ExamplePool(
            ids=tuple(query_id for query_id, _ in kept),
            queries=tuple(queries[query_id].text for query_id, _ in kept),
            passage_ids=tuple(positives for _, positives in kept),
        )

    def targets_of(self, data: Artifact, split: str) -> list[str]:
        """Ids of the queries judged in ``split``."""
        queries = queries_of(data)
        if split == "train":
            return sorted({t.query_id for t in triples_of(data)} & set(queries))
        return sorted(set(judgements_of(data, split)) & set(queries))

    def process(self, name: str) -> int:
        split, number = name.split("-")
        start = int(number) * TARGETS_PER_PART
        ids = self.targets_of(self.data, split)[start : start + TARGETS_PER_PART]
        targets = self._targets(ids, split)
        rows_qk = self.fitted.select(targets, self.stage.k)
        table = pa.table(
            {
                "query_id": pa.array(ids, pa.string()),
                "example_ids": [[self.pool.ids[r] for r in rows] for rows in rows_qk],
                "passage_ids": [[self._passage(r) for r in rows] for rows in rows_qk],
            }
        )
        publish(
            self.folder, name, lambda path: write_table(table, path), rows=len(ids), suffix=".parquet"
        )
        return len(ids)

    def _targets(self, ids: list[str], split: str) -> Targets:
        queries = queries_of(self.data)
        relevant: list[frozenset[str]] = [frozenset()] * len(ids)
        if self.stage.leak_filter:
            judged = judgements_of(self.data, split) if split in self.stage.splits else {}
            positives = {t.query_id: t.positive_ids for t in triples_of(self.data)} if split == "train" else {}
            relevant = [
                frozenset(p for p, grade in judged.get(i, {}).items() if grade > 0) | set(positives.get(i, ()))
                for i in ids
            ]
        return Targets(tuple(ids), tuple(queries[i].text for i in ids), tuple(relevant))

    def _passage(self, row: int) -> str:
        """The passage shown for a pool row: one of its relevant ones, the same wherever the row is chosen."""
        passages = self.pool.passage_ids[row]
        generator = np.random.default_rng(seed_for(self.stage.seed, "example passage", self.pool.ids[row]))
        return passages[int(generator.integers(len(passages)))]
