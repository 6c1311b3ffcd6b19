"""A model as the input of a step, small enough to send to the process that loads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.classifier import ClassifierSpec
from descant.stages.base import StageContext
from descant.stages.compute_bases import BASES, basis_files, reading_bases

if TYPE_CHECKING:
    from descant.models.classify import Classifier

MODEL = "model"


@dataclass(frozen=True)
class ModelInput:
    """What a step reads beside the base: inputs ``model`` for a trained one, ``bases`` where its method uses them."""

    folder: Path | None
    bases: Mapping[str, Path]
    device: str

    @classmethod
    def of(cls, context: StageContext, *, gpus: float) -> Self:
        """The inputs of ``context``."""
        model = context.inputs.get(MODEL)
        return cls(
            folder=model.path(MODEL) if model is not None else None,
            bases=basis_files(context.inputs[BASES]) if BASES in context.inputs else {},
            device="cuda" if gpus else "cpu",
        )

    def causal(self, spec: CausalSpec) -> CausalModel:
        """The language model."""
        with reading_bases(self.bases):
            return load_causal(spec, folder=self.folder, device=self.device)

    def classifier(self, spec: ClassifierSpec, num_labels: int, *, seed: int) -> "Classifier":
        """The classifier; without a trained one its head is new."""
        from descant.models.classify import load_classifier

        with reading_bases(self.bases):
            return load_classifier(spec, num_labels, folder=self.folder, device=self.device, seed=seed)
