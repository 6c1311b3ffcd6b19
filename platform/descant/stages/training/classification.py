"""The objective of a classifier of texts, text pairs or images: cross entropy, averaged over the rows of a step.

Legend: m rows of a micro-batch, c labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn.functional import cross_entropy

from descant.core.errors import ConfigError, DataError
from descant.models.classifier import ClassifierSpec
from descant.models.classify import Classifier, Input, Row, TextInput, load_classifier
from descant.models.folders import ADAPTER
from descant.models.folders import HEAD as HEAD_FILE
from descant.stages.training.attach import attach
from descant.stages.training.export import save_adapter, save_tensors
from descant.stages.training.independent import Forwarded, IndependentRows, Record, TaskTraining, summed
from descant.stages.training.settings import TaskTrainSettings

BACKBONE, HEAD = "backbone.", "head."


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(TaskTraining):
    """The training of a classifier."""

    settings: TaskTrainSettings
    classifier: ClassifierSpec
    num_labels: int

    @property
    def model_spec(self) -> ClassifierSpec:
        """The settings of the classifier."""
        return self.classifier

    def objective(self) -> "Classification":
        """The objective of one worker."""
        return Classification(self)


@dataclass(frozen=True)
class Labelled:
    """A row as the backbone reads it, with the number of its class."""

    id: str
    input: Input
    label: int


class Classification(IndependentRows[Labelled]):
    """Cross entropy of a head that is trained beside the adapter."""

    outputs: ClassVar[str] = "logits"
    settings: TaskTrainSettings

    def __init__(self, training: ClassifierTraining) -> None:
        super().__init__(training)
        self._check_labels(training.num_labels)
        classifier = load_classifier(
            training.classifier,
            training.num_labels,
            device=training.compute.device,
            seed=training.settings.seed,
        )
        self.module: Classifier = classifier
        classifier.backbone = attach(training, classifier.backbone, self._examples())
        self.model: torch.nn.Module = classifier.backbone

    @property
    def head_parameters(self) -> int:
        """Weights and biases of the head."""
        return sum(p.numel() for p in self.module.head.parameters())

    def rates(self) -> Mapping[torch.nn.Parameter, float]:
        """The head's own learning rate, where it has one."""
        rate = self.settings.head_learning_rate
        return {} if rate is None else dict.fromkeys(self.module.head.parameters(), rate)

    def units(self, records: Sequence[Record]) -> list[Labelled]:
        """Tokens or pixels of the rows."""
        inputs = self.module.inputs([_row(record) for record in records])
        return [
            Labelled(record["id"], given, record["label"])
            for record, given in zip(records, inputs, strict=True)
        ]

    def size(self, unit: Labelled) -> int:
        """Tokens of a text; images are all alike."""
        return len(unit.input.ids) if isinstance(unit.input, TextInput) else 1

    def counted(self, unit: Labelled) -> int:
        """One row."""
        return 1

    def forward(self, engine: Any, units: Sequence[Labelled]) -> Forwarded:
        """Logits of the rows, and their cross entropy summed."""
        logits_mc, loss_m = self._scored(engine, units)
        return Forwarded(
            row_ids=[unit.id for unit in units],
            loss_sum=loss_m.sum(),
            outputs=[logits_mc.detach()],
            tokens=sum(map(self.size, units)),
            cut_rows=sum(isinstance(unit.input, TextInput) and unit.input.is_cut for unit in units),
        )

    def validate(self, engine: Any) -> Mapping[str, float]:
        """``accuracy`` and mean cross entropy (``loss``) over the validation rows."""
        right, loss, rows = 0.0, 0.0, 0
        for records in self.validation_batches():
            for part in self.dealt(self.units(records)):
                logits_mc, loss_m = self._scored(engine, part.units)
                if part.counts:
                    labels_m = torch.tensor([unit.label for unit in part.units], device=logits_mc.device)
                    right += float((logits_mc.argmax(1) == labels_m).sum())
                    loss += float(loss_m.double().sum())
                    rows += len(part.units)
        right, loss, total = summed([right, loss, rows], engine.device)
        return {"accuracy": right / total, "loss": loss / total}

    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write the adapter and, apart from it, the head."""
        save_adapter(
            self.settings.method,
            self.model,
            _named(state, BACKBONE),
            folder / ADAPTER,
            _named(start, BACKBONE),
        )
        save_tensors(_named(state, HEAD), folder / HEAD_FILE)

    def _scored(self, engine: Any, units: Sequence[Labelled]) -> tuple[torch.Tensor, torch.Tensor]:
        logits_mc = engine(self.module.batch([unit.input for unit in units]))
        labels_m = torch.tensor([unit.label for unit in units], device=logits_mc.device)
        return logits_mc, cross_entropy(logits_mc, labels_m, reduction="none")

    def _examples(self) -> Iterator[Mapping[str, torch.Tensor]]:
        for records in self.examples():
            batch = self.module.batch([unit.input for unit in self.units(records)])
            if "input_ids" not in batch:
                kind = type(self.settings.method).model_fields["kind"].default
                raise ConfigError(
                    "E-TRN-METHOD",
                    f"method {kind}",
                    "it starts from example texts, and these rows are images",
                    "Nothing was started. Choose another method.",
                )
            yield batch

    def _check_labels(self, num_labels: int) -> None:
        for record in self.records:
            if not 0 <= record["label"] < num_labels:
                raise DataError(
                    "E-TRN-ROWS",
                    f"{self.training.rows.name}, row {record['id']!r}",
                    f"has label {record['label']}, there are {num_labels}",
                    "Nothing was started. Prepare the task again.",
                )


def _row(record: Record) -> Row:
    if "image" in record:
        image: bytes = record["image"]
        return image
    text, pair = record["text"], record.get("pair")
    return text if pair is None else (text, pair)


def _named(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Those whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
