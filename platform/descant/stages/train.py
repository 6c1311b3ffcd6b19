"""Fine-tune an encoder on training rows, on Ray Train with DeepSpeed."""

import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from descant.artifacts.commit import publish
from descant.artifacts.tables import read_table, write_table
from descant.core.spec import Compute
from descant.models.encoder import EncoderSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.pair_examples import ROWS
from descant.stages.training.settings import TrainCompute, TrainSettings, plan_batches
from descant.stages.training.step_log import StepReport

RETRIEVER, STEPS = "retriever", "steps"
WORKPLACE = "training"
"""Checkpoints and logs of an unfinished training; gone once its result is published."""


class Train(Stage):
    """Fine-tune an encoder. Inputs: ``rows: TASK`` for each task, results of ``pair_examples``."""

    name: ClassVar[str] = "train"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    encoder: EncoderSpec
    """The encoder to start from."""
    settings: TrainSettings
    """The optimisation."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing or the batches do not fit the workers."""
        self.encoder.model.check()
        assert isinstance(compute, TrainCompute)
        plan_batches(self.settings, compute)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``retriever`` (settings and adapter in one folder) and ``steps`` (loss and rate of each step)."""
        from descant.models.retriever import save_retriever
        from descant.stages.training.batches import BatchOrder
        from descant.stages.training.loop import ADAPTER, Training
        from descant.stages.training.loop import STEPS as STEP_LOG
        from descant.stages.training.train import run_training

        compute = context.compute
        assert isinstance(compute, TrainCompute)
        workplace = context.folder / WORKPLACE
        tables = [read_table(rows.path(ROWS)) for _, rows in sorted(context.inputs.items())]
        workplace.mkdir(exist_ok=True)
        rows = workplace / "rows.parquet"
        write_table(pa.concat_tables(tables), rows)
        training = Training(rows, self.encoder, self.settings, compute, workplace)
        started = time.monotonic()

        tasks = [task for table in tables for task in table.column("task").to_pylist()]
        num_steps = BatchOrder(tasks, self.settings).num_steps

        def report(figures: StepReport) -> None:
            context.progress(figures.step, num_steps, "steps", f"loss {figures.loss:.4f}")

        result = run_training(training, report)

        def write_retriever(path: Path) -> None:
            save_retriever(path, self.encoder, adapter=workplace / ADAPTER)

        publish(context.folder, RETRIEVER, write_retriever, rows=0)
        publish(
            context.folder,
            STEPS,
            lambda path: path.write_bytes((workplace / STEP_LOG).read_bytes()),
            rows=result.num_steps,
            suffix=".jsonl",
        )
        facts = {
            "steps": result.num_steps,
            "resumed_at": result.resumed_at,
            "trainable_parameters": result.trainable_parameters,
            "training_seconds": round(time.monotonic() - started, 1),
        }
        return Outcome([RETRIEVER, STEPS], facts)
