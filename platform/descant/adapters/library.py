"""Methods of the ``peft`` library: what all of them share. Their specs have PEFT's own argument names."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from descant.adapters.base import Method
from descant.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from descant.adapters.base import Batches


@dataclass(frozen=True)
class Target:
    """A layer to adapt, with its sizes whatever the layout of its weight; ``layer`` is Linear or Conv1D."""

    name: str
    module: Any
    layer: str
    in_features: int
    out_features: int


class PeftMethod(Method):
    """A method that is a PEFT tuner: a subclass names its configuration and counts its parameters.

    ``layers``: the layer types it adapts. ``quantised``: whether it trains, saves and loads over bitsandbytes'
    8-bit and 4-bit bases. ``several_adapters``: whether one base can carry several adapters of the kind.
    """

    layers: ClassVar[tuple[str, ...]] = ("Linear",)
    quantised: ClassVar[bool] = False
    several_adapters: ClassVar[bool] = True

    @abstractmethod
    def config(self) -> PeftConfig:
        """The configuration that PEFT understands."""

    def arguments(self) -> dict[str, Any]:
        """This spec as keyword arguments of its PEFT configuration."""
        values = self.model_dump(exclude={"kind"})
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError where the method cannot adapt ``model``."""

    def attach(self, model: PreTrainedModel, *, seed: int, batches: Batches | None = None) -> torch.nn.Module:
        """``model`` inside a ``PeftModel``; raises ConfigError where the method cannot adapt it."""
        import torch

        if getattr(model, "quantization_method", None) is not None and not self.quantised:
            raise self.refusal("PEFT has no implementation of it for a quantised base", "Use lora or vera.")
        self.check(model)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.wrap(model, batches)

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """``model`` inside a ``PeftModel``, with torch's generator on this adapter's seed."""
        from peft import get_peft_model

        return get_peft_model(model, self.config(), autocast_adapter_dtype=False)

    def merge(self, model: torch.nn.Module) -> PreTrainedModel:
        """``merge_and_unload``; raises ConfigError where the method has no weights to fold."""
        if not self.mergeable:
            raise self.refusal("it changes no weight, so nothing can be merged", "Keep the adapter.")
        return cast("Any", model).merge_and_unload()

    def saved_state(self, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The adapter's tensors without the adapter's name in theirs, and the buffers it cannot do without."""
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(
            cast("Any", model), state_dict=_whole(model, state), save_embedding_layers=False
        )

    def save(self, model: torch.nn.Module, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors``, the same bytes for the same adapter."""
        adapted = cast("Any", model)
        for config in adapted.peft_config.values():
            for name, value in vars(config).items():
                if isinstance(value, set):  # would be written in the order of this process's hash seed
                    setattr(config, name, sorted(value))
        adapted.save_pretrained(folder, state_dict=_whole(model, state), save_embedding_layers=False)


class LinearMethod(PeftMethod):
    """A method that adapts the weights of linear layers."""

    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names or endings of names of the adapted linear layers; ``all-linear`` is all but the output head."""

    def targets(self, model: PreTrainedModel) -> list[Target]:
        """The layers that ``target_modules`` means; ConfigError for a name that is none of them."""
        return targets(model, self.target_modules, self.layers)

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError where a target is not in ``model``, or not of a type the method adapts."""
        self.targets(model)


def load_adapter(model: PreTrainedModel, folder: Path, *, device: str = "cpu") -> torch.nn.Module:
    """``model`` with the adapter that was saved in ``folder``, frozen; for PEFT's methods and our own."""
    from peft import PeftModel

    import descant.adapters.svft  # noqa: F401 - makes the method known to PEFT

    return PeftModel.from_pretrained(model, folder, is_trainable=False, torch_device=device)


def targets(
    model: PreTrainedModel,
    named: tuple[str, ...] | Literal["all-linear"],
    layers: tuple[str, ...] = ("Linear",),
) -> list[Target]:
    """The linear layers that ``named`` means in ``model``; ConfigError for a name that is none of them.

    ``layers`` are the types that can be adapted: ``Linear``, ``Conv1D`` (GPT-2's, whose weight lies
    transposed).
    """
    head = model.get_output_embeddings()
    linear = [t for n, m in model.named_modules() if m is not head and (t := _linear(n, m)) is not None]
    if named == "all-linear":
        chosen = linear
    else:
        for target in named:
            if not any(_is(t.name, target) for t in linear):
                known = ", ".join(sorted({t.name.rsplit(".", 1)[-1] for t in linear}))
                raise ConfigError(
                    "E-ADP-TARGET",
                    f"target_modules: {target}",
                    f"no linear layer of {type(model).__name__} has this name; it has {known}",
                    "Nothing was started. Name one of these, or write all-linear.",
                )
        chosen = [t for t in linear if any(_is(t.name, target) for target in named)]
    wrong = [t for t in chosen if t.layer not in layers]
    if wrong or not chosen:
        raise ConfigError(
            "E-ADP-LAYER",
            f"{type(model).__name__}: {wrong[0].name if wrong else 'target_modules'}",
            f"found {wrong[0].layer if wrong else 'no linear layer'}, the method adapts {', '.join(layers)}",
            "Nothing was started. Name other targets, or use lora, which adapts Linear and Conv1D.",
        )
    return chosen


def divides(method: PeftMethod, field: str, size: int, layers: list[Target], *, outputs: bool) -> None:
    """Raise ConfigError unless ``size`` divides the inputs, and where asked the outputs, of all ``layers``."""
    sizes = [n for t in layers for n in ((t.in_features, t.out_features) if outputs else (t.in_features,))]
    for t in layers:
        if t.in_features % size or (outputs and t.out_features % size):
            common = math.gcd(*sizes)
            fitting = ", ".join(str(d) for d in range(1, common + 1) if common % d == 0)
            raise method.refusal(
                f"{field} = {size} does not divide {t.name} [{t.out_features}, {t.in_features}]",
                f"Use one of {fitting}, name other targets, or use lora, which has no blocks.",
            )


def _linear(name: str, module: torch.nn.Module) -> Target | None:
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return Target(name, module, "Linear", module.in_features, module.out_features)
    if isinstance(module, Conv1D):
        inputs, outputs = module.weight.shape
        return Target(name, module, "Conv1D", inputs, outputs)
    return None


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _whole(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``state`` under all names of shared tensors, and the model's buffers.

    Random projections are no parameters but belong to the adapter; a bank of vectors has a name in each
    layer.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    trained = {id(named[name]): tensor for name, tensor in state.items() if name in named}
    shared = {name: trained[id(p)] for name, p in named.items() if id(p) in trained}
    return {n: t for n, t in model.state_dict().items() if n not in named} | shared | state
