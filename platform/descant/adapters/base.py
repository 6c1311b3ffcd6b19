"""What every adaptation method promises: a base model in, the same with trainable parameters out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from descant.core.errors import ConfigError
from descant.core.spec import Spec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    Batches = Iterable[Mapping[str, torch.Tensor]]
    """Arguments of the base model's forward: int64 or bool ``input_ids`` and ``attention_mask`` [texts, tokens]."""


class Method(Spec, ABC):
    """How a base model is adapted.

    ``mergeable``: the adapted weights can be folded into the base. ``zero_stages``: the DeepSpeed ZeRO stages
    that give right results. ``starts_at_base``: the untrained adapted model equals the base.
    ``adapter_only``: a saved folder holds the trained parameters alone and needs its base to be loaded.
    ``keeps_base``: ``attach`` leaves the base's weights as they are. ``untrainable``: why the training stage
    refuses the method, empty where it trains.
    """

    mergeable: ClassVar[bool] = True
    zero_stages: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    starts_at_base: ClassVar[bool] = True
    adapter_only: ClassVar[bool] = True
    keeps_base: ClassVar[bool] = True
    untrainable: ClassVar[str] = ""

    @abstractmethod
    def attach(self, model: PreTrainedModel, *, seed: int, batches: Batches | None = None) -> torch.nn.Module:
        """``model`` with this method's parameters trainable and all others frozen, equal for equal seeds.

        ``batches`` are examples of what the model will read, for the methods that start from them. The given
        model is changed and must not be used on its own afterwards. Raises ConfigError where the method
        cannot adapt this model.
        """

    @abstractmethod
    def merge(self, model: torch.nn.Module) -> PreTrainedModel:
        """The base architecture with the change folded into its weights; outputs equal to 1e-5 in fp32."""

    @abstractmethod
    def num_parameters(self, model: PreTrainedModel) -> int:
        """How many parameters train once attached to the base ``model``, from its shapes alone."""

    def saved_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What ``save`` writes for the trained tensors ``state``, by the names it writes."""
        return state

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write the adapted model as safetensors with its configuration.

        ``state`` holds the full trainable tensors by parameter name: under ZeRO-3 the model itself holds
        shards.
        """
        model.save_pretrained(folder, state_dict=dict(state))  # type: ignore[operator]

    def refusal(self, problem: str, instead: str) -> ConfigError:
        """The error of a method that cannot do what is asked; ``instead`` says what can."""
        kind = type(self).model_fields["kind"].default
        return ConfigError("E-ADP-METHOD", f"method {kind}", problem, f"Nothing was started. {instead}")
