"""Full fine-tuning: every parameter of the base trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from descant.adapters.base import Method

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from descant.adapters.base import Batches


class Full(Method):
    """Full fine-tuning: train all parameters; the saved folder is a whole model."""

    kind: Literal["full"] = "full"
    """Which method this is."""

    adapter_only: ClassVar[bool] = False

    def attach(self, model: PreTrainedModel, *, seed: int, batches: Batches | None = None) -> torch.nn.Module:
        """The model itself, all parameters trainable."""
        return model.requires_grad_(True)

    def merge(self, model: torch.nn.Module) -> PreTrainedModel:
        """The model itself."""
        return cast("PreTrainedModel", model)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """All of them, shared ones once."""
        return sum(p.numel() for p in model.parameters())

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write the whole model under its parameters' own names, which for ViT are not those of the hub."""
        cast("PreTrainedModel", model).save_pretrained(
            folder, state_dict=dict(state), save_original_format=False
        )
