"""The tuner: which layers of a model get an SVFT adapter, how it is saved, and that it fits when it is loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from descant.adapters.patterns import budget_of, off_diagonals_within
from descant.adapters.svft.checks import checked, checks_of
from descant.adapters.svft.config import SvftConfig
from descant.adapters.svft.layer import SvftLinear
from descant.adapters.svft.mixed_batch import mixed_batch


class SvftModel(BaseTuner):
    """A base model with SVFT adapters; made by ``get_peft_model``."""

    prefix = "svft_"
    tuner_layer_cls = SvftLinear
    target_module_mapping = {
        kind: list(names) for kind, names in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.items()
    }

    def _check_new_adapter_config(self, config: PeftConfig) -> None:
        super()._check_new_adapter_config(config)
        assert isinstance(config, SvftConfig)
        others = {c.execution for c in self.peft_config.values() if isinstance(c, SvftConfig)} - {
            config.execution
        }
        if others:
            raise ValueError(
                f"This model's adapters have execution={others.pop()}, the new one {config.execution}: "
                "the weights cannot be both kept and dropped"
            )

    def _pre_injection_hook(self, model: nn.Module, config: PeftConfig, adapter_name: str) -> None:
        """Turn a budget into off-diagonals, which is what is saved."""
        assert isinstance(config, SvftConfig)
        if config.trainable is None:
            return
        prepared = _maybe_include_all_linear_layers(
            self._prepare_adapter_config(config, self.get_model_config(model)), model
        )
        ranks = [
            min(config.rank or min(shape), min(shape))
            for name, module in model.named_modules()
            if (shape := _shape(module)) and self._check_target_module_exists(prepared, name)
        ]
        budget = budget_of(config.trainable, sum(p.numel() for p in model.parameters()))
        config.off_diagonals = off_diagonals_within(budget, config.pattern, ranks)
        config.trainable = (
            None  # solved: a model that this is loaded into may have another number of parameters
        )

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
        **_: Any,
    ) -> None:
        assert isinstance(peft_config, SvftConfig)
        if isinstance(target, SvftLinear):
            target.update_layer(adapter_name, peft_config)
            return
        base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        if _shape(base) is None:
            raise ValueError(
                f"Target module {current_key} is a {type(base).__name__}; SVFT adapts torch.nn.Linear (quantised too) "
                "and transformers' Conv1D"
            )
        layer = SvftLinear(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """What PeftModel does around a forward pass or ``generate``: here, a row of the batch for each adapter."""
        names = kwargs.get("adapter_names")
        if names is None:
            yield
            return
        with mixed_batch(self.model, names, kwargs.get("num_beams") or 1):
            yield

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = True,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> Any:
        for module in self.model.modules():
            if isinstance(module, SvftLinear):
                module.restore_weight()
        return super()._unload_and_optionally_merge(merge, progressbar, safe_merge, adapter_names)

    def add_weighted_adapter(self, adapters: list[str], weights: list[float], adapter_name: str) -> None:
        """Add the adapter whose update is the weighted sum of those of ``adapters``, exactly.

        They must have the same positions, which the same pattern, off-diagonals, rank and seed give; else ValueError.
        """
        recipes = {recipe_of(self.peft_config[name]) for name in adapters}
        if len(recipes) != 1 or len(adapters) != len(weights) or adapter_name in self.peft_config:
            raise ValueError(
                "add_weighted_adapter needs adapters of one pattern, off_diagonals, rank and seed, as many weights, "
                f"and a new name; got {sorted(map(str, recipes))}, {len(weights)} weights for {len(adapters)} adapters "
                f"and {adapter_name!r}"
            )
        config = copy.copy(self.peft_config[adapters[0]])
        assert isinstance(config, SvftConfig)
        config.gate = False
        self.peft_config[adapter_name] = config
        self.inject_adapter(self.model, adapter_name)
        for module in self.model.modules():
            if isinstance(module, SvftLinear) and adapter_name in module.svft_coefficients:
                with torch.no_grad():
                    parts = [w * module.coefficients(name) for name, w in zip(adapters, weights, strict=True)]
                    module.svft_coefficients[adapter_name].copy_(torch.stack(parts).sum(0))

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        selected = super()._get_adapter_state_dict(
            model, config, adapter_name, state_dict, unwanted_adapter_names
        )
        return {**selected, **checks_of(model, adapter_name, selected)}

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        remapped = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        return checked(model, adapter_name, remapped)


def recipe_of(config: PeftConfig) -> tuple[Any, ...]:
    """What decides the positions of an adapter's coefficients, given the weights."""
    assert isinstance(config, SvftConfig)
    return config.pattern, config.off_diagonals, config.rank, config.seed, config.rectangular


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """Outputs and inputs of a layer that can be adapted; None for others."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):
        return module.weight.shape[1], module.weight.shape[0]
    backend = resolve_quantization_backend(module)
    if backend is not None and backend.layer_type == "linear":
        return module.out_features, module.in_features  # type: ignore[return-value]
    return None
