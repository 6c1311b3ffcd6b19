"""Fine-tune an encoder on training rows, on Ray Train with DeepSpeed."""

import json
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.artifacts.tables import read_table, write_table
from descant.core.spec import Compute
from descant.models.encoder import EncoderSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files
from descant.stages.held import Held
from descant.stages.pair_examples import ROWS
from descant.stages.training.settings import TrainCompute, TrainSettings, check_precision, plan_batches
from descant.stages.training.step_log import StepReport, read_steps

if TYPE_CHECKING:
    from descant.stages.training.loop import Outcome as Trained
    from descant.stages.training.objective import Training

RETRIEVER, STEPS = "retriever", "steps"
VECTORS = "vectors"
WORKPLACE = "training"
"""Checkpoints and logs of an unfinished training; gone once its result is published."""


class Train(Stage):
    """Fine-tune an encoder.

    Inputs: ``rows: TASK`` for each task, results of ``pair_examples``; ``bases`` for methods that use them;
    ``vectors``, passages that the base has embedded, where only queries are adapted.
    """

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
        check_precision(self.settings.method, self.encoder.precision)

    def held(self, compute: Compute) -> Held:
        """The encoder, with the queries of a micro-batch and, where they are encoded, their passages."""
        assert isinstance(compute, TrainCompute)
        number = plan_batches(self.settings, compute).micro_batch
        rows = [(number, self.encoder.max_query_tokens)]
        if self.settings.adapt == "both":
            rows.append((number * (1 + self.settings.num_negatives), self.encoder.max_passage_tokens))
        return Held(self.encoder.model, self.encoder.precision, tuple(rows), trains=self.settings.method)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``retriever`` (settings and adapter in one folder) and ``steps`` (loss and rate of each step)."""
        from descant.models.folders import ADAPTER
        from descant.models.retriever import save_retriever
        from descant.stages.training.batches import BatchOrder
        from descant.stages.training.measured import measured
        from descant.stages.training.retrieval import RetrieverTraining

        compute = context.compute
        assert isinstance(compute, TrainCompute)
        workplace = context.folder / WORKPLACE
        inputs = dict(context.inputs)
        bases = basis_files(inputs.pop(BASES)) if BASES in inputs else {}
        embedded = inputs.pop(VECTORS, None)
        tables = [
            read_table(rows.path(ROWS)) for name, rows in sorted(inputs.items()) if name.startswith("rows: ")
        ]
        workplace.mkdir(exist_ok=True)
        rows = workplace / "rows.parquet"
        write_table(pa.concat_tables(tables), rows)
        training = RetrieverTraining(
            rows=rows,
            encoder=self.encoder,
            settings=self.settings,
            compute=compute,
            folder=workplace,
            bases=bases,
            vectors=tuple(map(embedded.path, embedded.names("vectors-"))) if embedded is not None else (),
        )
        tasks = [task for table in tables for task in table.column("task").to_pylist()]
        result = run_shown(training, BatchOrder(tasks, self.settings).num_steps, context)

        def write_retriever(path: Path) -> None:
            save_retriever(path, self.encoder, adapter=workplace / ADAPTER)

        publish(context.folder, RETRIEVER, write_retriever, rows=0)
        shown = mean(n for table in tables for n in table.column("num_examples").to_pylist())
        facts = {**measured(result, self.settings, workplace), "examples_per_row": round(shown, 2)}
        return Outcome([RETRIEVER, STEPS], facts)


def run_shown(training: "Training", num_steps: int, context: StageContext) -> "Trained":
    """Run a training in the stage's folder, show each step, and publish ``steps``."""
    from descant.stages.training.train import run_training
    from descant.stages.training.workplace import STEPS as STEP_LOG

    def report(figures: StepReport) -> None:
        context.progress(figures.step, num_steps, "steps", f"loss {figures.loss:.4f}")
        context.metrics(figures.metrics(), figures.step)

    result = run_training(training, report)
    publish(
        context.folder,
        STEPS,
        lambda path: _write_curve(training.folder / STEP_LOG, path),
        rows=result.num_steps,
        suffix=".jsonl",
    )
    return result


def losses_of(training: Artifact) -> list[float]:
    """The loss of each step of a ``train`` result."""
    lines = training.path(STEPS).read_text("utf-8").splitlines()
    return [float(json.loads(line)["loss"]) for line in lines]


def _write_curve(log: Path, path: Path) -> None:
    """Every step without its rate: what stays the same when the same training runs again."""
    figures = [step.plain() for step in read_steps(log)]
    kept = [{name: value for name, value in step.items() if name != "rows_per_second"} for step in figures]
    path.write_text("".join(json.dumps(step) + "\n" for step in kept), "utf-8")
