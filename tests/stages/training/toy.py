"""A tiny retriever training that starts in a second: toy rows, a random two-layer encoder, LoRA."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from descant.adapters import Lora, Method
from descant.artifacts.models import TinyModel
from descant.models.encoder import EncoderSpec
from descant.stages.training.loop import Trainer
from descant.stages.training.retrieval import RetrieverTraining
from descant.stages.training.settings import TrainCompute, TrainSettings
from descant.stages.training.step_log import StepReport
from descant.stages.training.workers import join_group

WORDS = ("water", "cell", "energy", "light", "heat", "force", "earth", "sun", "plant", "animal", "air")
POISON = "process"


def text(generator: np.random.Generator, num_words: int) -> str:
    return " ".join(generator.choice(WORDS, num_words))


def toy_rows(count: int, tasks: tuple[str, ...] = ("a", "b")) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    rows = []
    for i in range(count):
        query = f"Query: {text(generator, 4 + i % 3)}"
        context = f"Query: {text(generator, 4)}\nPositive Document: {text(generator, 5)}\n\n"
        rows.append(
            {
                "id": f"row-{i:03d}",
                "task": tasks[i % len(tasks)],
                "plain_text": query,
                "plain_start": 0,
                "prompt_text": context + query,
                "prompt_start": len(context),
                "num_examples": 1,
                "positive_id": f"p-{i}",
                "positive": text(generator, 5 + i % 4),
                "negative_ids": [f"n-{i}", f"p-{(i + 2) % count}"],
                "negatives": [text(generator, 5), text(generator, 6)],
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as parquet; in one move, since every worker of a test writes the same file."""
    draft = path.with_name(f".{os.getpid()}")
    pq.write_table(pa.Table.from_pylist(rows), draft)
    return draft.rename(path)


def toy_training(
    folder: Path,
    *,
    compute: TrainCompute | None = None,
    method: Method | None = None,
    model: TinyModel | None = None,
    poison: str = "",
    **settings: Any,
) -> RetrieverTraining:
    """``poison`` names a row whose query gets the word ``POISON``, which no other row has."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = toy_rows(24)
    for row in rows:
        if row["id"] == poison:
            row |= {"plain_text": f"{POISON} {row['plain_text']}", "prompt_text": POISON, "prompt_start": 0}
    path = write_rows(folder / "rows.parquet", rows)
    values: dict[str, Any] = {
        "base_dropout": True,
        "learning_rate": 2e-3,
        "global_batch": 8,
        "num_train_epochs": 20,
        "max_steps": 16,
        "save_steps": 4,
        "method": method or Lora(r=4, lora_alpha=8),
    }
    precision = settings.pop("precision", "fp32")
    model = model or TinyModel()
    return RetrieverTraining(
        rows=path,
        encoder=EncoderSpec(model=model, pooling="mean", precision=precision, max_query_tokens=64),
        settings=TrainSettings(**(values | settings)),
        compute=compute or TrainCompute(workers=1),
        folder=folder,
    )


def llama(folder: Path, **values: Any) -> RetrieverTraining:
    """A training without dropout, and with an optimiser that does not magnify rounding (a large epsilon)."""
    model = TinyModel(architecture="llama")
    still: dict[str, Any] = {
        "method": Lora(r=4, lora_alpha=8, lora_dropout=0.0),
        "adam_epsilon": 1e-3,
        "model": model,
    }
    return toy_training(folder, **(still | values))


def started(training: RetrieverTraining) -> Trainer:
    join_group("cpu")
    return Trainer(training)


def run(trainer: Trainer, steps: int) -> list[StepReport]:
    return [trainer.step() for _ in range(steps)]


def figures(reports: list[StepReport]) -> list[tuple[str, str, str]]:
    """What must be equal to the last bit."""
    return [(r.loss.hex(), r.learning_rate.hex(), r.grad_norm.hex()) for r in reports]
