"""Fine-tune a classifier or a language model on a prepared task, in this process or on Ray Train."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files
from descant.stages.train import STEPS, WORKPLACE, write_curve
from descant.stages.training.settings import TaskTrainSettings, TrainCompute, check_precision, plan_rows
from descant.stages.training.step_log import StepReport, read_steps

if TYPE_CHECKING:
    from descant.stages.training.independent import TaskTraining

DATA, MODEL = "data", "model"


class TrainTask(Stage):
    """Fine-tune a model on a task.

    Inputs: ``data``, a result of ``prepare_task``; ``bases`` for methods that use them.
    """

    name: ClassVar[str] = "train_task"
    compute_class: ClassVar[type[Compute]] = TrainCompute

    model: ClassifierSpec | CausalSpec
    """The model to start from: a classifier's for rows with labels, a language model's for prompts and responses."""
    settings: TaskTrainSettings
    """The optimisation."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing or the method cannot be trained so."""
        self.model.model.check()
        assert isinstance(compute, TrainCompute)
        plan_rows(self.settings, compute)
        check_precision(self.settings.method, self.model.precision)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model`` (see ``models.trained``) and ``steps`` (the figures of each step).

        Facts: ``trainable_parameters`` of the method and ``head_parameters`` beside them; ``adapter_bytes``, the
        weight files of the adapter on disk; ``tokens_per_second``, the median over steps, padding not counted;
        ``training_seconds``, the sum over steps, so that loading, validation and saving do not count and a
        resumed training has every step once; ``peak_memory_bytes`` of the worker that needed most, model
        included, from its start to the last step, and what ``peak_memory_kind`` was read; ``cut_rows``, how
        often a row was too long.
        """
        from descant.models.folders import ADAPTER
        from descant.stages.training.loop import STEPS as STEP_LOG
        from descant.stages.training.train import run_training

        workplace = context.folder / WORKPLACE
        workplace.mkdir(exist_ok=True)
        data = context.inputs[DATA]
        training = self._training(context, data, workplace)
        num_steps = training.num_steps

        def report(figures: StepReport) -> None:
            context.progress(figures.step, num_steps, "steps", f"loss {figures.loss:.4f}")
            context.metrics(figures.metrics(), figures.step)

        result = run_training(training, report)
        publish(context.folder, MODEL, lambda path: self._save(path, workplace, data), rows=0)
        publish(
            context.folder,
            STEPS,
            lambda path: write_curve(workplace / STEP_LOG, path),
            rows=result.num_steps,
            suffix=".jsonl",
        )
        steps = read_steps(workplace / STEP_LOG)
        rows = self.settings.global_batch
        adapter = workplace / ADAPTER
        facts: dict[str, Any] = {
            "steps": result.num_steps,
            "resumed_at": result.resumed_at,
            "trainable_parameters": result.trainable_parameters - result.head_parameters,
            "head_parameters": result.head_parameters,
            "adapter_bytes": sum(path.stat().st_size for path in adapter.rglob("*.safetensors")),
            "tokens_per_second": round(median(s.tokens * s.rows_per_second / rows for s in steps), 1),
            "training_seconds": round(sum(rows / s.rows_per_second for s in steps), 3),
            "peak_memory_bytes": result.peak_memory_bytes,
            "peak_memory_kind": result.peak_memory_kind,
            "cut_rows": sum(s.cut_rows for s in steps),
        }
        return Outcome([MODEL, STEPS], facts)

    def _training(self, context: StageContext, data: Artifact, workplace: Path) -> "TaskTraining":
        from descant.stages.training.classification import ClassifierTraining
        from descant.stages.training.next_token import CausalTraining

        assert isinstance(context.compute, TrainCompute)
        self._check_family(data)
        shared: Mapping[str, Any] = {
            "rows": data.path("train"),
            "validation": data.path("validation") if "validation" in data.names() else None,
            "settings": self.settings,
            "compute": context.compute,
            "folder": workplace,
            "bases": basis_files(context.inputs[BASES]) if BASES in context.inputs else {},
        }
        if isinstance(self.model, CausalSpec):
            return CausalTraining(causal=self.model, **shared)
        return ClassifierTraining(classifier=self.model, num_labels=len(_labels(data)), **shared)

    def _check_family(self, data: Artifact) -> None:
        """Rows and model must be of one kind: what reads rows is chosen by the model."""
        found = data.manifest.facts["family"]
        expected = "text"
        if isinstance(self.model, ClassifierSpec):
            expected = "classification" if self.model.image is None else "image"
        if found != expected:
            raise ConfigError(
                "E-TRN-TASK",
                "model",
                f"found a task of family {found}, these settings train on family {expected}",
                "Nothing was started. Give pooling for a classifier, image too for images, neither for text.",
            )

    def _save(self, path: Path, workplace: Path, data: Artifact) -> None:
        from safetensors.torch import load_file

        from descant.models.folders import ADAPTER, HEAD
        from descant.models.trained import save_trained

        if isinstance(self.model, CausalSpec):
            save_trained(path, self.model, adapter=workplace / ADAPTER)
            return
        head = load_file(workplace / HEAD)
        save_trained(path, self.model, adapter=workplace / ADAPTER, head=head, labels=_labels(data))


def _labels(data: Artifact) -> list[str]:
    """The names of the classes, in the order of their numbers."""
    labels: list[str] = data.manifest.facts["labels"]
    return labels
