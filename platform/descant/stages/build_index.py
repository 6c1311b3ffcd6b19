"""Build an index over encoded passages, in shards that are searched apart and merged exactly."""

from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from descant.artifacts.commit import publish
from descant.artifacts.mirror import fetch
from descant.artifacts.store import Artifact
from descant.artifacts.tables import write_table
from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.indexes import AnyIndex
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.map_parts import MapCompute, map_light_parts
from descant.stages.vectors import read_vectors, weights_of

SHARED = "shared"


class BuildIndex(Stage):
    """Index the passages of an ``embed`` result. Input: ``vectors``."""

    name: ClassVar[str] = "build_index"
    compute_class: ClassVar[type[Compute]] = MapCompute

    index: AnyIndex
    """The kind of index and its settings."""
    rows_per_shard: int = Field(100_000, ge=1)
    """Least number of vectors in a shard, except the last; parts are never split."""

    def check(self, compute: Compute) -> None:
        """Raise when the index is not one over vectors."""
        if self.index.takes != "vectors":
            raise ConfigError(
                "E-IDX-TAKES",
                f"index.kind = {self.index.kind}",
                "indexes texts, and the passages here are vectors",
                "Nothing was started. Use exact, hnsw or ivf.",
            )

    def run(self, context: StageContext) -> Outcome:
        """Publish ``shard-*`` (the index) and ``ids-*`` (the passage of each of its rows)."""
        vectors = context.inputs["vectors"]
        shards = self._shards(vectors)
        rows = [sum(vectors.part(name).rows for name in names) for names in shards]
        shared = self._shared(context, vectors)
        starts = [0, *accumulate(rows)]
        work = _IndexWork(context.folder, vectors, self.index, shared, shards, starts)
        sizes = {f"shard-{number:05d}": count for number, count in enumerate(rows)}
        map_light_parts(context, work, sizes, unit="vectors")
        names = [*sizes, *(name.replace("shard", "ids") for name in sizes), *([SHARED] if shared else [])]
        facts = {
            "rows": sum(rows),
            "shards": len(shards),
            "encoder": vectors.manifest.spec,
            "weights": weights_of(vectors),
        }
        return Outcome(names, facts)

    def _shards(self, vectors: Artifact) -> list[list[str]]:
        """Names of the vector parts that go into each shard."""
        shards: list[list[str]] = []
        filled = self.rows_per_shard
        for name in vectors.names("vectors-"):
            if filled >= self.rows_per_shard:
                shards.append([])
                filled = 0
            shards[-1].append(name)
            filled += vectors.part(name).rows
        return shards

    def _shared(self, context: StageContext, vectors: Artifact) -> Path | None:
        """What all shards share, made once from all parts."""
        if not self.index.needs_preparation:
            return None
        if context.draft.missing([SHARED]):
            parts = (read_vectors(vectors, [name])[1] for name in vectors.names("vectors-"))
            publish(context.folder, SHARED, lambda path: self.index.prepare(parts, path), rows=0)
        return context.draft.path(SHARED)


class _IndexWork:
    def __init__(
        self,
        folder: Path,
        vectors: Artifact,
        index: Any,
        shared: Path | None,
        shards: list[list[str]],
        starts: list[int],
    ) -> None:
        self.folder, self.vectors, self.index, self.shared = folder, vectors, index, shared
        self.shards, self.starts = shards, starts

    def __call__(self) -> "_IndexWork":
        return self

    def process(self, name: str) -> int:
        number = int(name.removeprefix("shard-"))
        shared = fetch(self.shared) if self.shared is not None else None
        ids, vectors = read_vectors(self.vectors, self.shards[number])

        def build(path: Path) -> None:
            self.index.build_shard(vectors, path, first_row=self.starts[number], shared=shared)

        table = pa.table({"id": pa.array(ids, pa.string())})
        publish(
            self.folder,
            name.replace("shard", "ids"),
            lambda path: write_table(table, path),
            rows=0,
            suffix=".parquet",
        )
        publish(self.folder, name, build, rows=len(ids), check=lambda path: self.index.open_shard(path))
        return len(ids)
