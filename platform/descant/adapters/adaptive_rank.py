"""Low-rank changes whose ranks are shared out between the layers while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class AdaLora(LinearMethod):
    """AdaLoRA: a change P diag(e) Q whose least important entries of e are cut step by step (arXiv:2303.10512).

    Defaults: PEFT's. Whoever trains it calls ``model.base_model.update_and_allocate(step)`` after every
    backward pass; ``orth_reg_weight`` takes effect on models that return a loss.
    """

    kind: Literal["adalora"] = "adalora"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True
    several_adapters: ClassVar[bool] = False
    zero_stages: ClassVar[tuple[int, ...]] = ()
    untrainable: ClassVar[str] = (
        "its rank allocator reads whole gradients after every step and has a state of its own, which the "
        "training neither gives it nor keeps in checkpoints"
    )

    init_r: int = Field(12, ge=1)
    """Rank of every change at the start."""
    target_r: int = Field(8, ge=1)
    """Mean rank at the end."""
    tinit: int = Field(0, ge=0)
    """Steps before ranks are cut."""
    tfinal: int = Field(0, ge=0)
    """Steps at the end in which ranks stay."""
    deltaT: int = Field(1, ge=1)
    """Steps between two cuts."""
    beta1: float = Field(0.85, gt=0, lt=1)
    """Decay of the moving average of sensitivity."""
    beta2: float = Field(0.85, gt=0, lt=1)
    """Decay of the moving average of uncertainty."""
    orth_reg_weight: float = Field(0.5, ge=0)
    """Weight of the penalty that keeps P and Q orthogonal."""
    total_step: int | None = Field(None, ge=1)
    """Optimiser steps of the whole training; must be given."""
    lora_alpha: float = Field(8, gt=0)
    """The change is scaled by ``lora_alpha`` over the rank."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""

    def config(self) -> PeftConfig:
        """``peft.AdaLoraConfig``."""
        from peft import AdaLoraConfig

        return AdaLoraConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; the schedule must be known and leave steps for cutting."""
        super().check(model)
        if self.total_step is None or self.tinit + self.tfinal >= self.total_step:
            raise self.refusal(
                f"total_step = {self.total_step}, tinit = {self.tinit}, tfinal = {self.tfinal} leave no step "
                "in which ranks are cut",
                "Give total_step, the steps of the whole training, or use lora.",
            )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """init_r (inputs + outputs + 1) for each target, before ranks are cut."""
        return sum(self.init_r * (t.in_features + t.out_features + 1) for t in self.targets(model))
