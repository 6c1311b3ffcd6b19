from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from descant.core.errors import DataError
from descant.data.prompts import PromptedText
from descant.stages.training.rows import read_rows
from tests.stages.training.toy import toy_rows, write_rows


def test_rows_are_read_with_the_negatives_asked_for(tmp_path: Path) -> None:
    record = toy_rows(3)[1] | {"positive_ids": ["p-1", "p-9"]}
    row = read_rows(write_rows(tmp_path / "rows.parquet", [record]), num_negatives=1)[0]
    assert row.plain == PromptedText(record["plain_text"], 0)
    assert row.prompt == PromptedText(record["prompt_text"], record["prompt_start"])
    assert row.passage_ids == ("p-1", "n-1")
    assert row.passages == (record["positive"], record["negatives"][0])
    assert row.relevant_ids == {"p-1", "p-9"}


def test_rows_of_a_folder_of_parts_are_read_in_name_order(tmp_path: Path) -> None:
    rows = toy_rows(4)
    for i in (1, 0):
        pq.write_table(pa.Table.from_pylist(rows[2 * i : 2 * i + 2]), tmp_path / f"part-{i}.parquet")
    assert [row.id for row in read_rows(tmp_path, num_negatives=0)] == [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"negatives": ["one"]}, "'row-001'.*has 2 negative ids and 1 texts, 2 are needed"),
        ({"negatives": [], "negative_ids": []}, "'row-001'.*has 0 negative ids and 0 texts, 2 are needed"),
        ({"positive": ""}, "'row-001'.*has an empty text"),
        ({"plain_text": ""}, "'row-001'.*has an empty text"),
        ({"id": "row-000"}, "'row-000'.*stands there twice"),
    ],
)
def test_row_that_cannot_be_trained_on_is_refused_by_name(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = toy_rows(3)
    rows[1] |= change
    with pytest.raises(DataError, match=message):
        read_rows(write_rows(tmp_path / "rows.parquet", rows), num_negatives=2)


def test_rows_without_a_column_are_refused_by_its_name(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "task"} for row in toy_rows(2)]
    with pytest.raises(DataError, match="lacks the columns task"):
        read_rows(write_rows(tmp_path / "rows.parquet", rows), num_negatives=1)
