"""What every adaptation method promises: a base model in, the same with trainable parameters out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from descant.core.spec import Spec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Method(Spec, ABC):
    """How a base model is adapted.

    ``mergeable``: the adapted weights can be folded into the base. ``zero_stages``: the DeepSpeed ZeRO stages
    that give right results. ``starts_at_base``: the untrained adapted model equals the base.
    ``adapter_only``: a saved folder holds the trained parameters alone and needs its base to be loaded.
    """

    mergeable: ClassVar[bool] = True
    zero_stages: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    starts_at_base: ClassVar[bool] = True
    adapter_only: ClassVar[bool] = True

    @abstractmethod
    def attach(self, model: PreTrainedModel, *, seed: int) -> torch.nn.Module:
        """``model`` with this method's parameters trainable and all others frozen, equal for equal seeds.

        The given model is changed and must not be used on its own afterwards.
        """

    @abstractmethod
    def merge(self, model: torch.nn.Module) -> PreTrainedModel:
        """The base architecture with the change folded into its weights; outputs equal to 1e-5 in fp32."""

    @abstractmethod
    def num_parameters(self, model: PreTrainedModel) -> int:
        """How many parameters train once attached to the base ``model``, from its shapes alone."""

    def saved_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``state`` under the names that ``save`` writes."""
        return state

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write the adapted model as safetensors with its configuration.

        ``state`` holds the full trainable tensors by parameter name: under ZeRO-3 the model itself holds
        shards.
        """
        model.save_pretrained(folder, state_dict=dict(state))  # type: ignore[operator]
