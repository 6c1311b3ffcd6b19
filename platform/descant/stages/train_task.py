"""Fine-tune a classifier or a language model on a prepared task, in this process or on Ray Train."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files
from descant.stages.held import Held, held_for_task
from descant.stages.train import STEPS, WORKPLACE, run_shown
from descant.stages.training.settings import TaskTrainSettings, TrainCompute, check_rows, plan_rows
from descant.stages.training.step_log import read_steps

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
        check_rows(self.settings, compute, self.model.precision)

    def held(self, compute: Compute) -> Held:
        """The model with the rows of a micro-batch."""
        assert isinstance(compute, TrainCompute)
        rows = ((plan_rows(self.settings, compute).micro_batch, self.model.max_tokens),)
        return held_for_task(self.model, rows, trains=self.settings.method)

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model`` (see ``models.trained``) and ``steps`` (the figures of each step).

        Facts: those of ``training.measured``, and ``cut_rows``, how often a row was too long.
        """
        from descant.stages.training.measured import measured
        from descant.stages.training.workplace import STEPS as STEP_LOG

        workplace = context.folder / WORKPLACE
        workplace.mkdir(exist_ok=True)
        data = context.inputs[DATA]
        training = self._training(context, data, workplace)
        result = run_shown(training, training.num_steps, context)
        publish(context.folder, MODEL, lambda path: self._save(path, workplace, data), rows=0)
        cut = sum(step.cut_rows for step in read_steps(workplace / STEP_LOG))
        facts = {**measured(result, self.settings, workplace), "cut_rows": cut}
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
