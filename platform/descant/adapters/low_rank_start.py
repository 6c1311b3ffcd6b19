"""LoRA that starts from the weights or from data instead of from zero.

PiSSA, OLoRA and CorDA put a part of each weight into A and B and leave the rest as the frozen base, so the
base is no longer the given one. What ``save`` writes is plain LoRA for the given base: the change since the
start, B A - B0 A0, of rank 2r.
"""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from descant.adapters.low_rank import LowRank
from descant.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from peft import LoraConfig
    from transformers import PreTrainedModel

    from descant.adapters.base import Batches


class Started(LowRank):
    """What the methods share that start from something."""

    quantised: ClassVar[bool] = False

    lora_alpha: float = Field(16, gt=0)
    """The change is scaled by ``lora_alpha / r``."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the change while training."""

    def check(self, model: PreTrainedModel) -> None:
        """As all; the rank must also fit into every target."""
        for t in self.targets(model):
            if self.r > min(t.in_features, t.out_features):
                raise self.refusal(
                    f"r = {self.r} exceeds {t.name} [{t.out_features}, {t.in_features}], from which it starts",
                    f"Use r of at most {min(t.in_features, t.out_features)}, or lora.",
                )


class Residual(Started):
    """A method that moves a part of the base into the adapter."""

    keeps_base: ClassVar[bool] = False
    several_adapters: ClassVar[bool] = False

    def check(self, model: PreTrainedModel) -> None:
        """As all; the base must be float32, since what is left of it would be rounded otherwise."""
        super().check(model)
        if any(t.module.weight.dtype.itemsize < 4 for t in self.targets(model)):
            raise self.refusal(
                "it splits the base's weights, which would be rounded anew in less than float32",
                "Set precision: fp32, or use lora, rslora, dora or eva.",
            )

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """As all, and A0 and B0 are kept beside the model."""
        adapted = super().wrap(model, batches)
        cast("Any", adapted).start_of_adapter = {
            name: p.detach().clone() for name, p in adapted.named_parameters() if p.requires_grad
        }
        return adapted

    def saved_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The adapter as LoRA of rank 2r on the given base."""
        return super().saved_state(model, _since_start(model, state))

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write plain LoRA of rank 2r on the given base."""
        config = cast("Any", model).peft_config["default"]
        kept = dict(vars(config))
        config.r, config.init_lora_weights, config.corda_config = 2 * self.r, True, None
        config.lora_alpha = self.lora_alpha * (math.sqrt(2) if self.use_rslora else 2)
        try:
            super().save(model, folder, _since_start(model, state))
        finally:
            vars(config).update(kept)


def _since_start(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """[B, -B0] and [A; A0] for B and A, by the names in ``state``."""
    import torch

    start = cast("Any", model).start_of_adapter
    sides = {name: (-start[name], 1) if ".lora_B." in name else (start[name], 0) for name in state}
    return {
        name: torch.cat([tensor, sides[name][0].to(tensor)], dim=sides[name][1])
        for name, tensor in state.items()
    }


class Pissa(Residual):
    """PiSSA: LoRA on the r largest singular directions of each weight, the rest frozen (arXiv:2404.02948).

    Defaults: alpha equal to r and no dropout, as in the paper.
    """

    kind: Literal["pissa"] = "pissa"
    """Which method this is."""

    def config(self) -> LoraConfig:
        """``peft.LoraConfig`` with ``init_lora_weights="pissa"``, the exact decomposition."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments(), init_lora_weights="pissa")


class Olora(Residual):
    """OLoRA: LoRA on the first r columns of each weight's QR decomposition, the rest frozen (arXiv:2406.01775).

    Defaults: alpha equal to r and no dropout, in the ratio of PEFT's defaults.
    """

    kind: Literal["olora"] = "olora"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear",)

    def config(self) -> LoraConfig:
        """``peft.LoraConfig`` with ``init_lora_weights="olora"``."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments(), init_lora_weights="olora")


class Corda(Residual):
    """CorDA: LoRA on the directions of each weight that matter most for examples of its input (arXiv:2406.05223).

    Defaults: alpha equal to r and no dropout, as PiSSA; PEFT finds 256 long texts enough for 4096 inputs.
    """

    kind: Literal["corda"] = "corda"
    """Which method this is."""
    corda_method: Literal["ipm", "kpm"] = "ipm"
    """Adapt the directions that the examples use most (instruction) or least (knowledge preserved)."""
    example_batches: int = Field(32, ge=1)
    """Batches of examples that the covariances are computed from."""

    def config(self) -> LoraConfig:
        """``peft.LoraConfig`` with ``init_lora_weights="corda"``."""
        from peft import LoraConfig
        from peft.tuners.lora.config import CordaConfig

        values = self.arguments()
        del values["example_batches"]
        corda = CordaConfig(corda_method=values.pop("corda_method"))
        return LoraConfig(**values, init_lora_weights="corda", corda_config=corda)

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """As all, after the covariance of every target's input over the examples was taken."""
        from peft.tuners.lora.corda import preprocess_corda

        examples = _examples(self, model, batches, self.example_batches)
        config = self.config()
        config.target_modules = [t.name for t in self.targets(model)]

        def run() -> None:
            for batch in examples:  # PEFT's hook takes one text without padding at a time
                for ids, mask in zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True):
                    model(input_ids=ids[mask][None])

        training = model.training
        preprocess_corda(model, config, run_model=run)
        model.train(training)
        return super().wrap(model, batches)


class Eva(Started):
    """EVA: LoRA whose A starts from the directions of most variance in each target's input (arXiv:2410.07170).

    Defaults: alpha equal to r and no dropout, PEFT's tau; ranks are not redistributed (rho = 1), so that the
    number of parameters follows from shapes.
    """

    kind: Literal["eva"] = "eva"
    """Which method this is."""
    quantised: ClassVar[bool] = True
    tau: float = Field(0.99, gt=0, lt=1)
    """Cosine similarity of a direction with itself a batch before at which it counts as found."""
    example_batches: int = Field(32, ge=1)
    """Batches of examples, gone through again and again until all directions are found."""

    def config(self) -> LoraConfig:
        """``peft.LoraConfig`` with ``init_lora_weights="eva"``."""
        from peft import EvaConfig, LoraConfig

        values = self.arguments()
        del values["example_batches"]
        eva = EvaConfig(rho=1.0, tau=values.pop("tau"), use_label_mask=False)
        return LoraConfig(**values, init_lora_weights="eva", eva_config=eva)

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """As all, and A is set; raises DataError when the examples leave a direction undetermined."""
        from peft import initialize_lora_eva_weights

        examples = _examples(self, model, batches, self.example_batches)
        adapted = super().wrap(model, batches)
        left = MAX_PASSES * len(examples)

        def forward(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> None:
            nonlocal left
            left -= 1
            if left < 0:  # PEFT would go on for ever
                raise DataError(
                    "E-ADP-EXAMPLES",
                    f"method eva, r = {self.r}",
                    f"{MAX_PASSES} passes over {len(examples)} batches did not determine all directions",
                    "Nothing was started. Lower r, raise example_batches, or give longer batches.",
                )
            model(**inputs)

        training = adapted.training
        initialize_lora_eva_weights(
            adapted,
            dataloader=examples,
            forward_fn=forward,
            gather_distributed_inputs=False,
            show_progress_bar=False,
        )
        return adapted.train(training)


MAX_PASSES = 64
"""Passes over the examples after which EVA is given up."""


def _examples(
    method: Started, model: PreTrainedModel, batches: Batches | None, count: int
) -> list[dict[str, torch.Tensor]]:
    """The first ``count`` batches, on the model's device."""
    found = [
        {name: batch[name].long().to(model.device) for name in ("input_ids", "attention_mask")}
        for batch in islice(batches or (), count)
    ]
    if not found:
        raise method.refusal(
            "it starts from example batches and was given none",
            "Pass batches to attach, or use lora, pissa or olora.",
        )
    return found
