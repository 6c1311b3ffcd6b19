"""Tiny trainings on a task: classifiers of texts, pairs and images, and a language model."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from descant.adapters import Lora, Method
from descant.artifacts.models import TinyModel
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.images import ImageInput
from descant.stages.training.classification import ClassifierTraining
from descant.stages.training.next_token import CausalTraining
from descant.stages.training.settings import TaskTrainSettings, TrainCompute
from tests.stages.training.toy import text, write_rows

LABELS = ("no", "yes", "perhaps")
LLAMA = TinyModel(architecture="llama")
TEXTS = ClassifierSpec(model=LLAMA, pooling="last_token", max_tokens=16)
PAIRS = ClassifierSpec(model=TinyModel(), pooling="cls", max_tokens=24)
IMAGES = ClassifierSpec(
    model=TinyModel(architecture="vit"),
    pooling="cls",
    image=ImageInput(size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
CAUSAL = CausalSpec(model=LLAMA, max_tokens=96)


def labelled(spec: ClassifierSpec, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        row: dict[str, Any] = {"id": f"row-{i:03d}", "label": i % len(LABELS)}
        if spec.image is not None:
            row["image"] = png(generator)
        else:
            row["text"] = text(generator, 2 + i % 5)
            row["pair"] = text(generator, 3) if spec is PAIRS and i % 4 else None
        rows.append(row)
    return rows


def png(generator: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(generator.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def questions(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a multiple choice; responses of one to three words."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        choices = [f" {text(generator, 1 + (i + j) % 3)}" for j in range(3)]
        rows.append(
            {
                "id": f"row-{i:03d}",
                "prompt": f"Query: {text(generator, 1 + i % 4)}\nAnswer:",
                "response": choices[i % 3],
                "answer": choices[i % 3].strip(),
                "choices": choices,
                "gold": i % 3,
            }
        )
    return rows


def common(
    folder: Path, rows: list[dict[str, Any]], validation: list[dict[str, Any]], values: dict[str, Any]
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    compute = values.pop("compute", TrainCompute(workers=0))
    still: dict[str, Any] = {
        "method": Lora(r=4, lora_alpha=8, lora_dropout=0.0),
        "learning_rate": 2e-3,
        "global_batch": 8,
        "num_train_epochs": 20,
        "max_steps": 6,
        "save_steps": 4,
        "adam_epsilon": 1e-3,
    }
    return {
        "rows": write_rows(folder / "train.parquet", rows),
        "validation": write_rows(folder / "validation.parquet", validation),
        "settings": TaskTrainSettings(**(still | values)),
        "compute": compute,
        "folder": folder,
    }


def classifier(folder: Path, spec: ClassifierSpec = TEXTS, **values: Any) -> ClassifierTraining:
    rows = labelled(spec, 24), labelled(spec, 7, seed=1)
    return ClassifierTraining(classifier=spec, num_labels=len(LABELS), **common(folder, *rows, values))


def language_model(
    folder: Path, *, rows: list[dict[str, Any]] | None = None, spec: CausalSpec = CAUSAL, **values: Any
) -> CausalTraining:
    return CausalTraining(causal=spec, **common(folder, rows or questions(24), questions(7, seed=1), values))


def packed(**values: Any) -> TrainCompute:
    return TrainCompute(packed=True, **({"workers": 0} | values))


def method_with_dropout() -> Method:
    return Lora(r=4, lora_alpha=8, lora_dropout=0.2)
