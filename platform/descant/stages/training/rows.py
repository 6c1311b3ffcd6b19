"""Training rows: what one row of the prepared parquet holds, and how it is read and refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from descant.artifacts.mirror import fetch
from descant.core.errors import DataError
from descant.data.prompts import PromptedText

COLUMNS = (
    "id",
    "task",
    "plain_text",
    "plain_start",
    "prompt_text",
    "prompt_start",
    "positive_id",
    "positive",
    "negative_ids",
    "negatives",
)
"""What must be there. ``positive_ids``, all passages judged relevant for the query, may be there too."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A query in both renderings, its positive passage and its hard negatives, best first.

    ``relevant_ids`` holds every passage known to answer the query: none of them counts as a negative.
    """

    id: str
    task: str
    plain: PromptedText
    prompt: PromptedText
    passage_ids: tuple[str, ...]
    passages: tuple[str, ...]
    relevant_ids: frozenset[str]


def read_rows(path: Path, *, num_negatives: int) -> list[TrainingRow]:
    """All rows of a parquet file or folder, each with exactly ``num_negatives`` negatives.

    Raises DataError, naming the row, for missing columns, repeated ids, empty texts and too few negatives.
    """
    table = pq.read_table(fetch(path))
    missing = sorted(set(COLUMNS) - set(table.column_names))
    if missing:
        raise _refused(str(path), f"lacks the columns {', '.join(missing)}")
    rows = [_row(record, path, num_negatives) for record in table.to_pylist()]
    _check_ids(rows, path)
    return rows


def _row(record: dict[str, Any], path: Path, num_negatives: int) -> TrainingRow:
    where = f"{path}, row {record['id']!r}"
    ids, texts = record["negative_ids"], record["negatives"]
    if len(ids) != len(texts) or len(ids) < num_negatives:
        raise _refused(
            where, f"has {len(ids)} negative ids and {len(texts)} texts, {num_negatives} are needed"
        )
    passages = (record["positive"], *texts[:num_negatives])
    if not all(passages) or not record["plain_text"] or not record["prompt_text"]:
        raise _refused(where, "has an empty text")
    return TrainingRow(
        id=record["id"],
        task=record["task"],
        plain=PromptedText(record["plain_text"], record["plain_start"]),
        prompt=PromptedText(record["prompt_text"], record["prompt_start"]),
        passage_ids=(record["positive_id"], *ids[:num_negatives]),
        passages=passages,
        relevant_ids=frozenset((record["positive_id"], *(record.get("positive_ids") or ()))),
    )


def _check_ids(rows: Sequence[TrainingRow], path: Path) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise _refused(f"{path}, row {row.id!r}", "stands there twice")
        seen.add(row.id)


def _refused(where: str, problem: str) -> DataError:
    return DataError("E-TRN-ROWS", where, problem, "Nothing was started. Prepare the training rows again.")
