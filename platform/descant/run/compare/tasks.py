"""What a comparison can be made on: each kind of task knows the steps of a cell.

prepare ── [decompose] ── train ─┬─ evaluate (validation while tuning, test in the end)
                                 └─ probe what the base could do before
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from descant.adapters import AnyMethod, Spectral
from descant.artifacts.models import AnyModel
from descant.core.measures import MeasureName
from descant.core.spec import Spec
from descant.data import AnyRetrievalSource
from descant.indexes.exact import Exact
from descant.losses import AnyLoss, InfoNce
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.encoder import EncoderSpec, Precision
from descant.models.generate import Decoding
from descant.run.compare.cells import Phase
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate
from descant.stages.evaluate_task import EvaluateTask
from descant.stages.fetch import Fetch
from descant.stages.pair_examples import PairExamples
from descant.stages.prepare_task import PrepareTask
from descant.stages.train import Train
from descant.stages.train_task import TrainTask
from descant.stages.training.settings import Schedule, TaskTrainSettings, TrainSettings
from descant.tasks import AnyTask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Rows(Spec):
    """How many rows of a task are used, drawn by a hash of their ids."""

    train: int = Field(ge=1)
    """Rows trained on; all there are if there are fewer."""
    validation: int = Field(ge=1)
    """Rows that tuning looks at; taken out of training where the data has no validation split."""
    test: int | None = Field(None, ge=1)
    """Rows that the final runs are scored on; all of them if left out."""


class ComparedTask(Spec):
    """A task of a comparison, with the base as this task sees it."""

    rows: Rows
    """How much of the data is used."""
    training: Schedule
    """How long trainings are, the same for all methods; their settings may lie in a search space too."""
    quality: float | None = None
    """A validation score of the deciding measure: how long each method trains until it is there is reported."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name."""

    @property
    @abstractmethod
    def measure(self) -> str:
        """The deciding measure."""

    @property
    @abstractmethod
    def base(self) -> AnyModel:
        """The base model."""

    @property
    @abstractmethod
    def precision(self) -> Precision:
        """The number format of the base."""

    @abstractmethod
    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """``data``, and ``score`` where the untrained base can do the task."""

    @abstractmethod
    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score`` of a training with these values; ``seed`` draws rows, not the training."""

    def skeleton(self) -> PreTrainedModel:
        """The base without its weights, as methods are attached to it."""
        from descant.models.load import skeleton

        return skeleton(self.base)

    @property
    def validated(self) -> tuple[str, ...]:
        """Measures that its trainings report on validation rows."""
        return ()

    def num_steps(self) -> int:
        """Of each training; fewer where the data has fewer rows."""
        steps = max(1, self.rows.train // self.training.global_batch) * self.training.num_train_epochs
        return min(steps, self.training.max_steps or steps)

    def bases(self, method: AnyMethod) -> Mapping[str, Step]:
        """The singular vectors of the base's weights, where the method trains between them."""
        if not isinstance(method, Spectral):
            return {}
        stage = ComputeBases(model=self.base, precision=self.precision, target_modules=method.target_modules)
        targets = (
            method.target_modules
            if isinstance(method.target_modules, str)
            else " ".join(method.target_modules)
        )
        return {BASES: Step(f"decompose {targets} for {self.name}", stage)}


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
        every = max(1, math.ceil(self.num_steps() / validations))
        settings = TaskTrainSettings.model_validate(
            {**self.training.model_dump(), "validate_every": every, **optimisation}
        )
        data, bases = self._data(seed), self.bases(settings.method)
        label = f"train {settings.method.kind} on {self.name}"
        trained = Step(label, TrainTask(model=self.model, settings=settings), {"data": data, **bases})
        return {"trained": trained, "score": self._scored(data, phase, seed, {"model": trained, **bases})}

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
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        stage = EvaluateTask(
            model=self.model, split=split, measures=self.task.measures, decoding=self.decoding, seed=seed
        )
        return Step(f"score {self.name} ({split})", stage, {"data": data, **model})


class LabelTask(PreparedTask):
    """Texts, pairs of texts or images to be classified, by a head on the base's pooled state."""

    kind: Literal["labels"] = "labels"
    """Classification."""
    classifier: ClassifierSpec
    """The base and what the head reads of it."""

    @property
    def validated(self) -> tuple[str, ...]:
        """The share of right classes."""
        return ("accuracy",)

    @property
    def model(self) -> ClassifierSpec:
        """The classifier."""
        return self.classifier

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data alone: a head that was not trained knows nothing."""
        return {"data": self._data(seed)}


class TextTask(PreparedTask):
    """Questions that a causal language model answers."""

    kind: Literal["text"] = "text"
    """Multiple choice or open answers."""
    causal: CausalSpec
    """The base."""
    decode: Decoding | None = None
    """How answers are generated, where the task is scored by generation."""

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
        from descant.models.load import causal_skeleton

        return causal_skeleton(self.base)

    @property
    def decoding(self) -> Decoding | None:
        """As set."""
        return self.decode

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data, and what the base answers as it is."""
        data = self._data(seed)
        return {"data": data, "score": self._scored(data, "final", seed, {})}


class SearchTask(ComparedTask):
    """Retrieval by an encoder of which the query side is adapted: passages keep the vectors of the base."""

    kind: Literal["search"] = "search"
    """Retrieval."""
    called: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A short name, shown in reports."""
    data: AnyRetrievalSource
    """The corpus, its queries and judgements."""
    encoder: EncoderSpec
    """The base with its prompts."""
    measures: tuple[MeasureName, ...] = Field(("ndcg_at_10",), min_length=1)
    """How rankings are scored; the first decides."""
    loss: AnyLoss = InfoNce()
    """What is minimised."""
    num_negatives: int = Field(0, ge=0)
    """Hard negatives per row."""

    @property
    def name(self) -> str:
        """As set."""
        return self.called

    @property
    def measure(self) -> str:
        """The first."""
        return self.measures[0]

    @property
    def base(self) -> AnyModel:
        """That of the encoder."""
        return self.encoder.model

    @property
    def precision(self) -> Precision:
        """That of the encoder."""
        return self.encoder.precision

    def base_targets(self, seed: int) -> Mapping[str, Step]:
        """The data, and the rankings of the base."""
        return {"data": self._data(), "score": self._scored("final", seed, {})}

    def targets(
        self, optimisation: Mapping[str, Any], phase: Phase, seed: int, validations: int
    ) -> Mapping[str, Step]:
        """``trained`` and ``score``; a retriever's training is not validated before its end."""
        settings = TrainSettings.model_validate(
            {
                **self.training.model_dump(),
                "loss": self.loss,
                "num_negatives": self.num_negatives,
                "adapt": "queries",
                **optimisation,
            }
        )
        pairs = PairExamples(
            encoder=self.encoder,
            task=self.name,
            max_rows=self.rows.train,
            num_negatives=self.num_negatives,
            seed=seed,
        )
        rows = Step(f"rows of {self.name}", pairs, {"data": self._data()})
        bases = self.bases(settings.method)
        inputs = {f"rows: {self.name}": rows, "vectors": self._passages(), **bases}
        label = f"train {settings.method.kind} on {self.name}"
        trained = Step(label, Train(encoder=self.encoder, settings=settings), inputs)
        return {"trained": trained, "score": self._scored(phase, seed, {"model": trained, **bases})}

    def _data(self) -> Step:
        return Step(f"fetch {self.name}", Fetch(source=self.data, validation_queries=self.rows.validation))

    def _passages(self) -> Step:
        return Step(
            f"embed passages of {self.name}", EmbedPassages(encoder=self.encoder), {"data": self._data()}
        )

    def _scored(self, phase: Phase, seed: int, model: Mapping[str, Step]) -> Step:
        split: Literal["validation", "test"] = "validation" if phase == "tuning" else "test"
        data = self._data()
        index = Step(f"index {self.name}", BuildIndex(index=Exact()), {"vectors": self._passages()})
        embed = EmbedQueries(encoder=self.encoder, split=split)
        queries = Step(f"embed {split} queries of {self.name}", embed, {"data": data, **model})
        stage = Evaluate(split=split, measures=self.measures, top_k=100, seed=seed)
        inputs = {"data": data, "index": index, "queries": queries}
        return Step(f"score {self.name} ({split})", stage, inputs)


AnyComparedTask = Annotated[LabelTask | TextTask | SearchTask, Field(discriminator="kind")]
