"""What tasks hand on to the stages of a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from descant.run.compare.cells import SCORE
from descant.run.compare.tasks import TextTask
from descant.stages.evaluate_task import EvaluateTask


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
