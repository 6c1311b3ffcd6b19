"""Preparing a task: what is drawn, what is left out, and what is said about it."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import TypeAdapter

from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import read_table
from descant.core.errors import ConfigError, DataError, IntegrityError, PolicyError
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.prepare_task import PrepareTask, task_rows
from descant.tasks.rows import SCHEMAS
from tests.pipeline import made

NAMES = ["no", "yes"]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def labelled(count: int, prefix: str = "text") -> list[dict[str, Any]]:
    return [{"id": f"{prefix}-{i}", "text": f"{prefix} {i}", "label": i % 2} for i in range(count)]


def classification(**paths: str) -> dict[str, Any]:
    source = {"kind": "labelled_text", "format": "jsonl", "labels": NAMES, "id": "id", **paths}
    return {"kind": "classification", "name": "t", "source": source}


def stage(task: dict[str, Any], **settings: Any) -> PrepareTask:
    values = {"task": task, "validation_rows": 0, "seed": 1, **settings}
    return TypeAdapter(PrepareTask).validate_python(values)


def prepared(task: dict[str, Any], folder: Path, **settings: Any) -> Artifact:
    prepare = stage(task, **settings)
    prepare.check(Profile().for_stage(prepare))
    return made(Step("prepare", prepare), Store(folder / "store"), Profile())["prepare"]


def ids(data: Artifact, split: Any) -> list[str]:
    return [row["id"] for row in task_rows(data, split)]


def test_validation_is_carved_out_of_training_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    rows = labelled(60)
    one = prepared(classification(train=write(tmp_path / "a.jsonl", rows)), tmp_path, validation_rows=20)
    other = prepared(
        classification(train=write(tmp_path / "b.jsonl", rows[::-1])), tmp_path, validation_rows=20
    )
    assert one.manifest.fingerprint != other.manifest.fingerprint
    assert [part.sha256 for part in one.manifest.parts] == [part.sha256 for part in other.manifest.parts]
    assert len(ids(one, "validation")) == 20
    assert sorted(ids(one, "train") + ids(one, "validation")) == sorted(row["id"] for row in rows)


def test_fewer_rows_are_part_of_more_and_leave_validation_alone(tmp_path: Path) -> None:
    task = classification(train=write(tmp_path / "a.jsonl", labelled(60)))
    small = prepared(task, tmp_path, validation_rows=10, train_rows=15)
    large = prepared(task, tmp_path, validation_rows=10, train_rows=30)
    assert ids(small, "train") == ids(large, "train")[:15]
    assert ids(small, "validation") == ids(large, "validation")
    other = prepared(task, tmp_path, validation_rows=10, train_rows=15, seed=2)
    assert ids(other, "train") != ids(small, "train")


def test_validation_that_the_data_has_is_capped_and_training_kept_whole(tmp_path: Path) -> None:
    task = classification(
        train=write(tmp_path / "a.jsonl", labelled(30)),
        validation=write(tmp_path / "b.jsonl", labelled(30, "other")),
        test=write(tmp_path / "c.jsonl", labelled(30, "third")),
    )
    data = prepared(task, tmp_path, validation_rows=10, test_rows=5)
    counts = {part.name: part.rows for part in data.manifest.parts}
    assert counts == {"train": 30, "validation": 10, "test": 5}
    facts = data.manifest.facts
    assert {facts[f"{split}_rows"]: split for split in counts} == {30: "train", 10: "validation", 5: "test"}
    assert sum(facts["rows_by_label"]["validation"].values()) == 10
    assert (facts["labels"], facts["family"]) == (NAMES, "classification")


def test_parts_have_the_columns_of_their_family(tmp_path: Path) -> None:
    data = prepared(classification(test=write(tmp_path / "a.jsonl", labelled(3))), tmp_path)
    assert read_table(data.path("test")).schema.equals(SCHEMAS["classification"])


def test_rows_that_cannot_be_used_are_left_out_with_their_reason(tmp_path: Path) -> None:
    rows = labelled(60)
    rows += [rows[0], {"id": "text-1", "text": "another", "label": 0}, {"id": "e", "text": " ", "label": 0}]
    rows += [{"id": "l", "text": "l", "label": 2}]
    data = prepared(classification(train=write(tmp_path / "a.jsonl", rows)), tmp_path)
    facts = data.manifest.facts
    assert facts["rejected"]["train"] == {"duplicate_id": 1, "empty_text": 1, "unknown_label": 1}
    assert facts["duplicates_dropped"] == 1
    assert facts["train_rows"] == 60
    assert {(row.id, row.reason) for row in data.manifest.rejected} == {
        ("text-1", "duplicate_id"),
        ("e", "empty_text"),
        ("l", "unknown_label"),
    }


def test_data_that_is_mostly_unusable_is_refused(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": "t", "label": 7} for i in range(10)] + labelled(10)
    with pytest.raises(DataError, match="10 of 20 rows cannot be used"):
        prepared(classification(train=write(tmp_path / "a.jsonl", rows)), tmp_path)


def test_validation_larger_than_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 8 usable rows, expected more than 8"):
        prepared(classification(train=write(tmp_path / "a.jsonl", labelled(8))), tmp_path, validation_rows=8)


def test_training_rows_that_are_also_test_rows_are_counted(tmp_path: Path) -> None:
    train = [*labelled(10), {"id": "x", "text": "The  Same", "label": 1}]
    test = [*labelled(5, "other"), {"id": "y", "text": "the same ", "label": 0}]
    task = classification(train=write(tmp_path / "a.jsonl", train), test=write(tmp_path / "b.jsonl", test))
    facts = prepared(task, tmp_path).manifest.facts
    assert (facts["train_rows_in_test"], facts["train_rows_in_test_first"]) == (1, ["x"])


def test_contamination_is_found_through_different_prompts(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(12)]
    source = {
        "kind": "gsm8k",
        "train": write(tmp_path / "a.jsonl", rows),
        "test": write(tmp_path / "b.jsonl", [{"question": "Q3", "answer": "so 3\n#### 3"}]),
    }
    task = {"kind": "open_answer", "name": "t", "source": source, "answer": "number", "prompt": "metamath"}
    data = prepared(task, tmp_path, validation_rows=4)
    shared = data.manifest.facts["train_rows_in_test"] + data.manifest.facts["validation_rows_in_test"]
    assert shared == 1
    assert all(row["prompt"].endswith("Response:") for row in task_rows(data, "train"))
    assert all(row["prompt"].endswith("step by step.") for row in task_rows(data, "validation"))


def test_carved_validation_has_an_answer_in_every_row(tmp_path: Path) -> None:
    rows = [{"instruction": f"i{i}", "output": f"is {i}" if i % 2 else "none"} for i in range(20)]
    source = {"kind": "instructions", "train": write(tmp_path / "a.jsonl", rows)}
    task = {"kind": "open_answer", "name": "t", "source": source, "answer": "number"}
    data = prepared(task, tmp_path, validation_rows=8)
    assert all(row["answer"] for row in task_rows(data, "validation"))
    assert len(ids(data, "train")) == 12


def test_name_and_measures_of_a_task_change_no_address(tmp_path: Path) -> None:
    task = classification(test=write(tmp_path / "a.jsonl", labelled(3)))
    one, other = stage(task), stage({**task, "name": "other", "measures": ["macro_f1"]})
    assert Step("a", one).fingerprint == Step("b", other).fingerprint
    assert one.task != other.task


def test_missing_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        prepared(classification(test=str(tmp_path / "absent.jsonl")), tmp_path)


def test_digits_are_split_once_and_for_all(tmp_path: Path) -> None:
    task = {"kind": "image_classification", "name": "digits", "source": {"kind": "digits"}}
    data = prepared(task, tmp_path, validation_rows=100)
    facts = data.manifest.facts
    assert (facts["train_rows"], facts["validation_rows"], facts["test_rows"]) == (1385, 100, 312)
    assert facts["labels"] == list("0123456789")
    assert facts["train_rows_in_test"] == 0
    assert not set(ids(data, "train")) & set(ids(data, "test"))
    row = task_rows(data, "test")[0]
    with Image.open(io.BytesIO(row["image"])) as image:
        assert (image.size, image.mode) == ((8, 8), "L")


def png(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, "PNG")
    return stream.getvalue()


def test_folder_of_images_names_its_classes_and_rejects_what_is_none(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        folder = tmp_path / "images" / "train" / name
        folder.mkdir(parents=True)
        for i in range(10):
            (folder / f"{i}.png").write_bytes(png((i, 0, len(name) if name == "cat" else 9)))
    (tmp_path / "images" / "train" / "cat" / "cut.png").write_bytes(png((1, 2, 3))[:40])
    (tmp_path / "images" / "train" / "dog" / "text.jpg").write_bytes(b"no image")
    source = {"kind": "image_folder", "path": str(tmp_path / "images")}
    task = {"kind": "image_classification", "name": "pets", "source": source}
    data = prepared(task, tmp_path)
    assert data.manifest.facts["labels"] == ["cat", "dog"]
    assert data.manifest.facts["rejected"]["train"] == {"not_an_image": 2}
    assert {row["label"] for row in task_rows(data, "train") if "cat" in row["id"]} == {0}
    before = Step("a", stage(task)).fingerprint
    (tmp_path / "images" / "train" / "cat" / "0.png").write_bytes(png((200, 0, 0)))
    assert Step("a", stage(task)).fingerprint != before


def test_images_in_parquet_are_read_from_bytes_and_from_structs(tmp_path: Path) -> None:
    images = [png((i, 0, 0)) for i in range(4)]
    plain = pa.table({"image": images, "label": [0, 1, 0, 1], "extra": [[1.0]] * 4})
    pq.write_table(plain, tmp_path / "plain.parquet")
    structs = pa.table(
        {"image": [{"bytes": b, "path": "x"} for b in images], "label": ["no", "yes", "no", "yes"]}
    )
    pq.write_table(structs, tmp_path / "structs.parquet")
    source = {
        "kind": "image_table",
        "labels": NAMES,
        "train": str(tmp_path / "plain.parquet"),
        "test": str(tmp_path / "structs.parquet"),
    }
    data = prepared({"kind": "image_classification", "name": "t", "source": source}, tmp_path)
    seen = {
        split: {hashlib.sha256(row["image"]).hexdigest(): row["label"] for row in task_rows(data, split)}
        for split in ("train", "test")
    }
    assert seen["train"] == seen["test"]
    assert data.manifest.facts["train_rows_in_test"] == 4


def test_parquet_column_of_an_extension_type_is_refused(tmp_path: Path) -> None:
    field = pa.field("image", pa.binary(), metadata={"ARROW:extension:name": "ray.data.arrow_pickled_object"})
    table = pa.table(
        [pa.array([b"x"]), pa.array([0])], schema=pa.schema([field, pa.field("label", pa.int64())])
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = {"kind": "image_table", "labels": NAMES, "test": str(tmp_path / "a.parquet")}
    with pytest.raises(PolicyError, match="extension type"):
        prepared({"kind": "image_classification", "name": "t", "source": source}, tmp_path)


def test_digits_of_other_bytes_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("descant.data.digits.SHA256", "0" * 64)
    with pytest.raises(IntegrityError, match="expected 000000000000"):
        prepared({"kind": "image_classification", "name": "t", "source": {"kind": "digits"}}, tmp_path)
