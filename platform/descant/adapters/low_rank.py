"""LoRA and what scales it differently: a change B A of rank r beside each target's weight, B = 0 at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


class LowRank(LinearMethod):
    """What the low-rank methods share."""

    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True

    r: int = Field(16, ge=1)
    """Rank of the change."""
    lora_alpha: float = Field(32, gt=0)
    """The change is scaled by ``lora_alpha / r``."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the input of the change while training."""
    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)`` instead (arXiv:2312.03732)."""

    def config(self) -> LoraConfig:
        """``peft.LoraConfig``."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) for each target."""
        return sum(self.r * (t.in_features + t.out_features) for t in self.targets(model))


class Lora(LowRank):
    """LoRA: a low-rank change of each target (arXiv:2106.09685).

    Defaults: rank 16, alpha 32 and dropout 0.05, common practice; the paper tunes them for each task.
    """

    kind: Literal["lora"] = "lora"
    """Which method this is."""
    bias: Literal["none", "lora_only"] = "none"
    """Which biases train: none, or those of the targets, so that disabling the adapter leaves them changed."""

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) for each target, and its bias where biases train."""
        biases = [t.module.bias for t in self.targets(model) if t.module.bias is not None]
        trained = sum(b.numel() for b in biases) if self.bias == "lora_only" else 0
        return super().num_parameters(model) + trained


class Rslora(LowRank):
    """rsLoRA: LoRA scaled by alpha / sqrt(r), so that high ranks learn too (arXiv:2312.03732).

    Defaults: those of LoRA here, alpha lowered so that the scale at rank 16 is the same 2.
    """

    kind: Literal["rslora"] = "rslora"
    """Which method this is."""
    lora_alpha: float = Field(8, gt=0)
    """The change is scaled by ``lora_alpha / sqrt(r)``."""
    use_rslora: Literal[True] = True
    """What makes it rsLoRA."""


class Dora(LowRank):
    """DoRA: LoRA on the direction of each weight and a trained magnitude per output (arXiv:2402.09353).

    Defaults: those of LoRA here.
    """

    kind: Literal["dora"] = "dora"
    """Which method this is."""

    def config(self) -> LoraConfig:
        """``peft.LoraConfig`` with ``use_dora``."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments(), use_dora=True)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) + outputs for each target."""
        return super().num_parameters(model) + sum(t.out_features for t in self.targets(model))
