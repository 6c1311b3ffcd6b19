"""Changes of high rank with few parameters: shared shards, sparse entries, circulant blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod, divides

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Miss(LinearMethod):
    """MiSS: one trained block of r inputs is added to every r inputs of a target (arXiv:2409.15371).

    Defaults: PEFT's (64 inputs, no dropout).
    """

    kind: Literal["miss"] = "miss"
    """Which method this is."""
    quantised: ClassVar[bool] = True

    r: int = Field(64, ge=1)
    """Inputs of the block; at most the inputs of every target."""
    miss_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""

    def config(self) -> PeftConfig:
        """``peft.MissConfig``."""
        from peft import MissConfig

        return MissConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; the block must fit into every target."""
        for t in self.targets(model):
            if self.r > t.in_features:
                raise self.refusal(
                    f"r = {self.r} exceeds the {t.in_features} inputs of {t.name}",
                    f"Use r of at most {t.in_features}, or use lora.",
                )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r outputs for each target."""
        return sum(self.r * t.out_features for t in self.targets(model))


class Shira(LinearMethod):
    """SHiRA: as many randomly chosen entries of each weight train as LoRA of rank r has parameters (arXiv:2406.13175).

    Defaults: PEFT's (rank 32); PEFT draws the entries anew for every model, here they follow from a seed.
    """

    kind: Literal["shira"] = "shira"
    """Which method this is."""
    quantised: ClassVar[bool] = True

    r: int = Field(32, ge=1)
    """Rank of the LoRA with as many parameters."""
    random_seed: int = Field(0, ge=0)
    """Seed of the chosen entries, whatever the seed of the run."""

    def config(self) -> PeftConfig:
        """``peft.ShiraConfig``."""
        from peft import ShiraConfig

        return ShiraConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; no target may have fewer entries than are trained."""
        for t in self.targets(model):
            if self.r * (t.in_features + t.out_features) > t.in_features * t.out_features:
                raise self.refusal(
                    f"r = {self.r} trains more entries than {t.name} [{t.out_features}, {t.in_features}] has",
                    "Lower r, or use lora.",
                )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) for each target."""
        return sum(self.r * (t.in_features + t.out_features) for t in self.targets(model))


class C3a(LinearMethod):
    """C3A: the change is made of trained circulant blocks, applied by Fourier transforms (arXiv:2407.19342).

    Defaults: PEFT's (blocks of 256, Xavier's uniform start).
    """

    kind: Literal["c3a"] = "c3a"
    """Which method this is."""
    starts_at_base: ClassVar[bool] = False

    block_size: int = Field(256, ge=1)
    """Size of the blocks; divides inputs and outputs of every target. The larger, the fewer parameters."""

    def config(self) -> PeftConfig:
        """``peft.C3AConfig``."""
        from peft import C3AConfig

        return C3AConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; blocks must fill inputs and outputs."""
        divides(self, "block_size", self.block_size, self.targets(model), outputs=True)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """inputs outputs / block_size for each target."""
        return sum(t.in_features * t.out_features // self.block_size for t in self.targets(model))
