"""Methods that train factors of activations, or the norms the model has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

from descant.adapters.library import PeftMethod, Target, targets
from descant.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft import LNTuningConfig, PeftConfig
    from transformers import PreTrainedModel

    from descant.adapters.base import Batches


class Ia3(PeftMethod):
    """IA3: a trained factor for each key and value and each input of the last feed-forward layer (arXiv:2205.05638).

    Defaults: the layers that PEFT names for the architecture, after the paper.
    """

    kind: Literal["ia3"] = "ia3"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True

    target_modules: tuple[str, ...] | None = None
    """Names or endings of names of the scaled linear layers; PEFT's for the architecture unless given."""
    feedforward_modules: tuple[str, ...] = ()
    """Those of them whose inputs are scaled, with ``target_modules`` given."""

    def config(self) -> PeftConfig:
        """``peft.IA3Config``."""
        from peft import IA3Config

        if self.target_modules is None:
            return IA3Config()
        return IA3Config(**self.arguments())

    def scaled(self, model: PreTrainedModel) -> tuple[list[Target], tuple[str, ...]]:
        """The targets, and the endings of names of those whose inputs are scaled."""
        from peft.utils.constants import (
            TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
        )
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS

        if self.target_modules is not None:
            return targets(model, self.target_modules, self.layers), self.feedforward_modules
        architecture = model.config.model_type
        if architecture not in TARGETS or architecture not in FEEDFORWARD:
            raise self.refusal(
                f"PEFT names no layers for {architecture}",
                "Give target_modules and feedforward_modules, or use lora.",
            )
        return targets(model, tuple(TARGETS[architecture]), self.layers), tuple(FEEDFORWARD[architecture])

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError where a target is missing or a feed-forward layer is none of the targets."""
        self.scaled(model)
        if not set(self.feedforward_modules) <= set(self.target_modules or ()):
            raise self.refusal(
                f"feedforward_modules {', '.join(self.feedforward_modules)} are not all target_modules",
                "Name them in both.",
            )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """outputs for each target, inputs for each feed-forward target."""
        layers, feedforward = self.scaled(model)
        return sum(t.in_features if t.name.endswith(feedforward) else t.out_features for t in layers)


class LnTuning(PeftMethod):
    """LayerNorm tuning: the model's own norms train, all else is frozen (arXiv:2312.11420).

    Defaults: all norms, as in the paper.
    """

    kind: Literal["ln_tuning"] = "ln_tuning"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("LayerNorm", "RMSNorm")
    quantised: ClassVar[bool] = True

    target_modules: tuple[str, ...] | Literal["all-norms"] = "all-norms"
    """Names or endings of names of the trained norms."""

    def config(self) -> PeftConfig:
        """``peft.LNTuningConfig``; what ``all-norms`` means is filled in when it is attached."""
        from peft import LNTuningConfig

        named = self.target_modules
        return LNTuningConfig(target_modules=None if named == "all-norms" else list(named))

    def norms(self, model: PreTrainedModel) -> dict[str, torch.nn.Module]:
        """The norms that train, by name; ConfigError for a name that is none of them."""
        norms = {n: m for n, m in model.named_modules() if type(m).__name__.endswith(self.layers)}
        named = self.target_modules
        if named == "all-norms":
            return norms
        for target in named:
            if not any(f".{name}".endswith(f".{target}") for name in norms):
                known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in norms}))
                raise ConfigError(
                    "E-ADP-TARGET",
                    f"target_modules: {target}",
                    f"no norm of {type(model).__name__} has this name; it has {known}",
                    "Nothing was started. Name one of these, or write all-norms.",
                )
        return {n: m for n, m in norms.items() if any(f".{n}".endswith(f".{t}") for t in named)}

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError where a target is not in ``model``."""
        if not self.norms(model):
            raise self.refusal(f"{type(model).__name__} has no norms", "Use lora.")

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """As all, with the norms by their names."""
        from peft import get_peft_model

        config = cast("LNTuningConfig", self.config())
        config.target_modules = sorted(self.norms(model))
        return get_peft_model(model, config, autocast_adapter_dtype=False)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """weights and biases of the norms."""
        return sum(p.numel() for m in self.norms(model).values() for p in m.parameters())
