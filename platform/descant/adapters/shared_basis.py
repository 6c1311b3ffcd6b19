"""Changes built from random matrices or vectors that all layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod, divides

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Vera(LinearMethod):
    """VeRA: two trained vectors scale one frozen random pair A, B that all targets share (arXiv:2310.11454).

    Defaults: PEFT's (rank 256; 0.1 for d is the paper's recommendation). A and B are saved with the adapter.
    """

    kind: Literal["vera"] = "vera"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True

    r: int = Field(256, ge=1)
    """Rank of the shared pair."""
    vera_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""
    d_initial: float = Field(0.1, gt=0)
    """Start of the vector between A and B."""
    projection_prng_key: int = Field(0, ge=0)
    """Seed of the shared pair, whatever the seed of the run."""

    def config(self) -> PeftConfig:
        """``peft.VeraConfig``."""
        from peft import VeraConfig

        return VeraConfig(**self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r + outputs for each target."""
        return sum(self.r + t.out_features for t in self.targets(model))


class RandLora(LinearMethod):
    """RandLoRA: a change of full rank, trained scales of frozen random bases that targets share (arXiv:2502.00987).

    Defaults: PEFT's (rank 32, alpha 20 times the rank). The bases are made from their seed again when the
    adapter is loaded: saved, they would be as large as the largest weight for every target.
    """

    kind: Literal["randlora"] = "randlora"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True

    r: int = Field(32, ge=1)
    """Rank of each basis; the smaller it is, the more bases and parameters."""
    randlora_alpha: float = Field(640, gt=0)
    """The change is scaled by ``randlora_alpha / r``."""
    randlora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""
    sparse: bool = False
    """Bases of -1, 0 and 1."""
    projection_prng_key: int = Field(0, ge=0)
    """Seed of the bases, whatever the seed of the run."""

    def config(self) -> PeftConfig:
        """``peft.RandLoraConfig``."""
        from peft import RandLoraConfig

        return RandLoraConfig(**self.arguments(), save_projection=False)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """ceil(m / r) (r + m) for each target, m the smaller of inputs and outputs."""
        smaller = [min(t.in_features, t.out_features) for t in self.targets(model)]
        return sum(-(-m // self.r) * (self.r + m) for m in smaller)


class VbLora(LinearMethod):
    """VB-LoRA: A and B are put together from mixtures of a bank of vectors that targets share (arXiv:2405.15179).

    Defaults: PEFT's (rank 4, 256 vectors of length 256, the best 2 of each mixture).
    """

    kind: Literal["vblora"] = "vblora"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    starts_at_base: ClassVar[bool] = False

    r: int = Field(4, ge=1)
    """Rank of the change."""
    num_vectors: int = Field(256, ge=2)
    """Vectors in the bank."""
    vector_length: int = Field(256, ge=1)
    """Their length; divides the inputs and outputs of every target."""
    topk: int = Field(2, ge=1)
    """Vectors in a mixture."""
    vblora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""

    def config(self) -> PeftConfig:
        """``peft.VBLoRAConfig``."""
        from peft import VBLoRAConfig

        return VBLoRAConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; the vectors' length must divide inputs and outputs, and a mixture fit into the bank."""
        divides(self, "vector_length", self.vector_length, self.targets(model), outputs=True)
        if self.topk > self.num_vectors:
            raise self.refusal(
                f"topk = {self.topk} exceeds num_vectors = {self.num_vectors}", "Lower topk, or use lora."
            )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """num_vectors (vector_length + r / vector_length (inputs + outputs)), the latter summed over targets."""
        parts = [(t.in_features + t.out_features) // self.vector_length for t in self.targets(model)]
        return self.num_vectors * (self.vector_length + self.r * sum(parts))
