"""Methods of the ``peft`` library, one spec each, with PEFT's own argument names."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from descant.adapters.base import Method
from descant.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel


class PeftMethod(Method):
    """A method that is a PEFT tuner: a subclass names its configuration and counts its parameters."""

    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names or endings of names of the adapted linear layers; ``all-linear`` is all but the output head."""

    @abstractmethod
    def config(self) -> PeftConfig:
        """The configuration that PEFT understands."""

    def attach(self, model: PreTrainedModel, *, seed: int) -> torch.nn.Module:
        """``model`` inside a ``PeftModel``; raises ConfigError when a target is not in the model."""
        import torch
        from peft import get_peft_model

        targets(model, self.target_modules)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return get_peft_model(model, self.config(), autocast_adapter_dtype=False)

    def merge(self, model: torch.nn.Module) -> PreTrainedModel:
        """``merge_and_unload``."""
        return cast("Any", model).merge_and_unload()

    def saved_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The adapter's tensors without the adapter's name in theirs."""
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(cast("Any", model), state_dict=state, save_embedding_layers=False)

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors``, the same bytes for the same adapter."""
        adapted = cast("Any", model)
        for config in adapted.peft_config.values():
            for name, value in vars(config).items():
                if isinstance(value, set):  # would be written in the order of this process's hash seed
                    setattr(config, name, sorted(value))
        adapted.save_pretrained(folder, state_dict=state, save_embedding_layers=False)


class LowRank(PeftMethod):
    """What the low-rank methods share: a change B A of rank r beside each target's weight."""

    r: int = Field(16, ge=1)
    """Rank of the change."""
    lora_alpha: float = Field(32, gt=0)
    """The change is scaled by ``lora_alpha / r``."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the input of the change while training."""
    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)`` instead (arXiv:2312.03732)."""

    def arguments(self) -> dict[str, Any]:
        """This spec as keyword arguments of ``peft.LoraConfig``."""
        values = self.model_dump(exclude={"kind"})
        named = self.target_modules
        return values | {"target_modules": named if isinstance(named, str) else list(named)}

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) for each target."""
        return sum(self.r * (m.in_features + m.out_features) for m in targets(model, self.target_modules))


class Lora(LowRank):
    """LoRA (arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    """Which method this is."""
    bias: Literal["none", "lora_only"] = "none"
    """Which biases train: none, or those of the targets."""

    def config(self) -> PeftConfig:
        """``peft.LoraConfig``."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r (inputs + outputs) for each target, and its bias where biases train."""
        biases = [m.bias for m in targets(model, self.target_modules) if m.bias is not None]
        trained = sum(b.numel() for b in biases) if self.bias == "lora_only" else 0
        return super().num_parameters(model) + trained


class Dora(LowRank):
    """DoRA: LoRA on the direction of each weight and a trained magnitude per output (arXiv:2402.09353)."""

    kind: Literal["dora"] = "dora"
    """Which method this is."""

    def config(self) -> PeftConfig:
        """``peft.LoraConfig`` with ``use_dora``."""
        from peft import LoraConfig

        return LoraConfig(**self.arguments(), use_dora=True)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """LoRA's count and one magnitude per output of each target."""
        magnitudes = sum(m.out_features for m in targets(model, self.target_modules))
        return super().num_parameters(model) + magnitudes


def targets(model: PreTrainedModel, named: tuple[str, ...] | Literal["all-linear"]) -> list[torch.nn.Linear]:
    """The linear layers that ``named`` means in ``model``; ConfigError for a name that is none of them."""
    import torch

    head = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    if named == "all-linear":
        return list(linear.values())
    for target in named:
        if not any(_is(name, target) for name in linear):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise ConfigError(
                "E-ADP-TARGET",
                f"target_modules: {target}",
                f"no linear layer of {type(model).__name__} has this name; it has {known}",
                "Nothing was started. Name one of these, or write all-linear.",
            )
    return [m for name, m in linear.items() if any(_is(name, target) for target in named)]


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
