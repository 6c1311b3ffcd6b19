"""What comparisons are made on: classification, language tasks, retrieval."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from descant.artifacts.models import AnyModel
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.encoder import Precision
from descant.models.generate import Decoding
from descant.run.compare.cells import DATA, FORGETTING, SCORE, TRAINED, Phase
from descant.run.compare.compared import ComparedTask
from descant.run.compare.search_task import SearchTask
from descant.stages.base import Step
from descant.stages.evaluate_task import EvaluateTask
from descant.stages.model_input import MODEL
from descant.stages.prepare_task import PrepareTask
from descant.stages.probe_forgetting import ProbeForgetting, ProbeText
from descant.stages.score_overlap import OVERLAP
from descant.stages.train_task import TrainTask
from descant.stages.training.settings import TaskTrainSettings
from descant.tasks import AnyTask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PreparedTask(ComparedTask):
    """A task whose rows are prepared once and whose model is trained and scored on them."""

    task: AnyTask
    """The task."""

    @property
    @abstractmethod
    def model(self) -> ClassifierSpec | CausalSpec:
        """The model that is trained."""

    @property
    def decoding(self) -> Decoding | None:
        """How answers are generated; only where the task is scored so."""
        return None

    @property
    def name(self) -> str:
        """That of the task."""
        return self.task.name

    @property
    def measure(self) -> str:
        """The task's first."""
        return self.task.measures[0]

    @property
    def base(self) -> AnyModel:
        """That of the model."""
        return self.model.model

    @property
    def precision(self) -> Precision:
        """That of the model."""
        return self.model.precision

    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score``."""
        values = {**self.training.model_dump(), **self.also(), **optimisation}
        every = None  # a single validation would be found again by the evaluation
        if validations > 1 or self.quality is not None:
            every = math.ceil(self.num_steps(TaskTrainSettings.model_validate(values)) / validations)
        settings = TaskTrainSettings.model_validate({**values, "validate_every": every})
        data, bases = self._data(seed), self.bases(settings.method)
        label = f"train {settings.method.kind} on {self.name}"
        trained = Step(label, TrainTask(model=self.model, settings=settings), {"data": data, **bases})
        model = {MODEL: trained, **bases}
        targets = {TRAINED: trained, SCORE: self._scored(data, phase, seed, model)}
        return targets if phase == "tuning" else {**targets, **self.probed(seed, model)}

    def also(self) -> Mapping[str, Any]:
        """Settings of trainings that the task adds."""
        return {}

    def probed(self, seed: int, model: Mapping[str, Step]) -> Mapping[str, Step]:
        """``forgetting``, where the task probes it."""
        return {}

    @model_validator(mode="after")
    def _decides_by_a_mean(self) -> Self:
        if self.measure in ("macro_f1", "matthews", *OVERLAP):
            raise ValueError(
                f"{self.measure} is no mean over rows, so no paired test can be made of it: put another measure first"
            )
        return self

    def _data(self, seed: int) -> Step:
        rows = self.rows
        stage = PrepareTask(
            task=self.task,
            train_rows=rows.train,
            validation_rows=rows.validation,
            test_rows=rows.test,
            seed=seed,
        )
        return Step(f"prepare {self.name}", stage)

    def _scored(self, data: Step, phase: Phase, seed: int, model: Mapping[str, Step]) -> Step:
        """Tuning looks at the deciding measure alone; others may take much longer."""
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        measures = self.task.measures[:1] if phase == "tuning" else self.task.measures
        pieces = self.task.pieces if "spbleu" in measures and self.task.kind == "translation" else None
        stage = EvaluateTask(
            model=self.model,
            split=split,
            measures=measures,
            decoding=self.decoding,
            pieces=pieces,
            seed=seed,
        )
        return Step(f"score {self.name} ({split})", stage, {"data": data, **model})


class LabelTask(PreparedTask):
    """Texts, pairs of texts or images to be classified, by a head on the base's pooled state."""

    kind: Literal["labels"] = "labels"
    """Classification."""
    classifier: ClassifierSpec
    """The base and what the head reads of it."""
    head_learning_rate: float = Field(gt=0)
    """Peak learning rate of the head, the same for all methods: they are compared by what they do to the base."""

    @property
    def validated(self) -> tuple[str, ...]:
        """The share of right classes."""
        return ("accuracy",)

    @property
    def model(self) -> ClassifierSpec:
        """The classifier."""
        return self.classifier

    def also(self) -> Mapping[str, Any]:
        """The head's learning rate."""
        return {"head_learning_rate": self.head_learning_rate}

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data alone: a head that was not trained knows nothing."""
        return {DATA: self._data(seed)}


class TextTask(PreparedTask):
    """Questions that a causal language model answers."""

    kind: Literal["text"] = "text"
    """Multiple choice or open answers."""
    causal: CausalSpec
    """The base."""
    decode: Decoding | None = None
    """How answers are generated, where the task is scored by generation."""
    probe: ProbeText | None = None
    """Plain text on which the base and every final run are scored: what training has cost elsewhere."""

    @property
    def validated(self) -> tuple[str, ...]:
        """Bits per byte of the responses; by likelihood also the share of right choices."""
        return ("bits_per_byte", "accuracy") if self.decode is None else ("bits_per_byte",)

    @property
    def model(self) -> CausalSpec:
        """The language model."""
        return self.causal

    def skeleton(self) -> PreTrainedModel:
        """With its output head."""
        from descant.models.skeleton import causal_skeleton

        return causal_skeleton(self.base)

    @property
    def decoding(self) -> Decoding | None:
        """As set."""
        return self.decode

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data, and what the base answers as it is."""
        data = self._data(seed)
        return {DATA: data, SCORE: self._scored(data, "final", seed, {}), **self.probed(seed, {})}

    def probed(self, seed: int, model: Mapping[str, Step]) -> Mapping[str, Step]:
        """Bits per byte of the probe text."""
        if self.probe is None:
            return {}
        stride = self.causal.max_tokens // 2
        stage = ProbeForgetting(model=self.causal, text=self.probe, stride=stride, seed=seed)
        label = f"probe {self.name}" if model else f"probe the base for {self.name}"
        return {FORGETTING: Step(label, stage, model)}


AnyComparedTask = Annotated[LabelTask | TextTask | SearchTask, Field(discriminator="kind")]
