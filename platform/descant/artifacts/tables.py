"""Parts as Parquet tables: one Arrow schema per kind of record, written so that equal rows give equal bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from descant.artifacts.commit import publish
from descant.artifacts.manifest import Part
from descant.artifacts.mirror import fetch
from descant.core.errors import IntegrityError
from descant.core.records import Judgement, Passage, Query, Rejected, Triple

Record = TypeVar("Record", Passage, Query, Judgement, Triple)

PASSAGES = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])
QUERIES = pa.schema([("id", pa.string()), ("text", pa.string())])
JUDGEMENTS = pa.schema([("query_id", pa.string()), ("passage_id", pa.string()), ("grade", pa.int32())])
TRIPLES = pa.schema(
    [
        ("query_id", pa.string()),
        ("positive_ids", pa.list_(pa.string())),
        ("negative_ids", pa.list_(pa.string())),
    ]
)
_SCHEMAS: dict[type, pa.Schema] = {
    Passage: PASSAGES,
    Query: QUERIES,
    Judgement: JUDGEMENTS,
    Triple: TRIPLES,
}


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table without anything that varies between equal runs."""
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)


def publish_table(
    folder: Path,
    name: str,
    table: pa.Table,
    *,
    check: Callable[[Path], object] | None = None,
    rejected: Sequence[Rejected] = (),
    facts: Mapping[str, Any] | None = None,
) -> Part:
    """Commit a table as one part with as many rows as it has; see ``publish``."""
    return publish(
        folder,
        name,
        partial(write_table, table),
        rows=len(table),
        suffix=".parquet",
        check=check,
        rejected=rejected,
        facts=facts,
    )


def read_table(path: Path) -> pa.Table:
    """Read a whole part, on whatever machine; raises IntegrityError when it is not Parquet."""
    try:
        return pq.read_table(fetch(path), memory_map=True)
    except pa.ArrowInvalid as error:
        problem = f"not readable as Parquet ({error})"
        raise IntegrityError(
            "E-ART-PARQUET", str(path), problem, "Nothing was changed. Run 'descant verify'."
        ) from None


def record_table(kind: type[Record], records: Sequence[Record]) -> pa.Table:
    """Records of one kind as a table."""
    names = [field.name for field in fields(kind)]
    columns = {name: [getattr(record, name) for record in records] for name in names}
    return pa.table(columns, schema=_SCHEMAS[kind])


def records(kind: type[Record], table: pa.Table) -> Iterator[Record]:
    """The rows of a table as records, in order."""
    columns = [table.column(field.name).to_pylist() for field in fields(kind)]
    for row in zip(*columns, strict=True):
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
        yield kind(*values)


def vector_table(ids: Sequence[str], vectors: np.ndarray) -> pa.Table:
    """``vectors``, float32 [rows, dim], with their ids, as columns ``id`` and ``vector``."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({"id": pa.array(ids, pa.string()), "vector": column})


def vectors_of(table: pa.Table) -> tuple[list[str], np.ndarray]:
    """Ids and float32 [rows, dim] of a vector table."""
    column: Any = table.column("vector").combine_chunks()
    dim = column.type.list_size
    return table.column("id").to_pylist(), column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dim)
