"""One batch whose rows are read by different adapters: ``model(..., adapter_names=[...])``, for inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peft.utils import AuxiliaryTrainingWrapper
from torch import nn

from descant.adapters.svft.layer import SvftLinear

BASE = "__base__"
"""The name that stands for no adapter."""


@contextmanager
def mixed_batch(model: nn.Module, adapter_names: Sequence[str], num_beams: int) -> Iterator[None]:
    """For the time of the block, row i of every batch is read with adapter ``adapter_names[i]``, or the base alone.

    ``num_beams``: how often beam search repeats each row; an encoder sees the rows as they were given. Raises
    ValueError in training mode and for a name that no layer knows.
    """
    if model.training:
        raise ValueError("Cannot pass `adapter_names` when the model is in training mode.")
    layers = [module for module in model.modules() if isinstance(module, SvftLinear)]
    known = {name for layer in layers for name in layer.svft_coefficients}
    unknown = set(adapter_names) - known - {BASE}
    if unknown:
        raise ValueError(f"Trying to infer with non-existing adapter(s): {', '.join(sorted(unknown))}")
    encoder = getattr(model, "get_encoder", lambda: None)() if num_beams > 1 else None
    encoding = set() if encoder is None or encoder is model else set(encoder.modules())
    repeated = [name for name in adapter_names for _ in range(num_beams)]
    hooks = []
    for module in model.modules():
        if isinstance(module, SvftLinear | AuxiliaryTrainingWrapper):
            rows = list(adapter_names) if module in encoding else repeated
            hooks.append(module.register_forward_pre_hook(_giving(rows), with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _giving(rows: list[str]) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "adapter_names": rows}

    return hook
