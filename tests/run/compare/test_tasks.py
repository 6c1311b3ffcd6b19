"""What tasks hand on to the stages of a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from descant.artifacts.store import Store
from descant.run.compare.cells import DATA, SCORE
from descant.run.compare.search_task import SearchTask
from descant.run.compare.tasks import TextTask
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.evaluate_task import EvaluateTask
from descant.stages.fetch import Fetch
from tests.pipeline import made


def headlines(folder: Path, *measures: str, **settings: Any) -> TextTask:
    path = folder / "test.jsonl"
    path.write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    task = {
        "kind": "translation",
        "name": "headlines",
        "source": {"kind": "instructions", "train": str(path)},
        "given": "Summary",
        "wanted": "Title",
        "measures": measures,
        **settings,
    }
    return TextTask.model_validate(
        {
            "task": task,
            "causal": {"model": {"kind": "tiny", "architecture": "llama"}},
            "decode": {"max_new_tokens": 8, "stop": ["\n"]},
            "rows": {"train": 1, "validation": 1},
            "training": {"global_batch": 1, "num_train_epochs": 1},
        }
    )


def test_measure_that_is_no_mean_over_rows_cannot_decide(tmp_path: Path) -> None:
    assert headlines(tmp_path, "exact_match", "chrf").measure == "exact_match"
    with pytest.raises(ValidationError, match="no mean over rows"):
        headlines(tmp_path, "chrf", "exact_match")


def test_pieces_go_to_evaluations_by_spbleu(tmp_path: Path, pieces_path: Path) -> None:
    task = headlines(tmp_path, "bits_per_byte", "spbleu", pieces={"path": str(pieces_path)})
    stage = task.base_targets(1)[SCORE].stage
    assert isinstance(stage, EvaluateTask)
    assert stage.pieces is not None
    assert stage.pieces.path == str(pieces_path)


def sentences(folder: Path, *splits: str) -> SearchTask:
    """Translations to be found, of so many splits."""
    sides = {}
    for side in ("given", "wanted"):
        paths = {split: folder / f"{side}-{split}" for split in splits}
        for path in paths.values():
            path.write_text("one\ntwo\nthree\n")
        sides[side] = {"kind": "lines", **{split: str(path) for split, path in paths.items()}}
    return SearchTask.model_validate(
        {
            "called": "translations",
            "data": {"kind": "translations", "pairs": sides},
            "encoder": {"model": {"kind": "tiny"}, "pooling": "mean"},
            "rows": {"train": 2, "validation": 1},
            "training": {"global_batch": 2, "num_train_epochs": 1},
        }
    )


def test_validation_queries_are_set_apart_where_the_data_has_none(tmp_path: Path) -> None:
    for splits, set_apart in ((("train", "test"), 1), (("train", "validation", "test"), 0)):
        stage = sentences(tmp_path, *splits).base_targets(1)[DATA].stage
        assert isinstance(stage, Fetch)
        assert stage.validation_queries == set_apart
        fetched = made(Step("fetch", stage), Store(tmp_path / f"store-{set_apart}"), Profile())["fetch"]
        assert {"judgements-train", "judgements-validation", "judgements-test"} <= set(fetched.names())
