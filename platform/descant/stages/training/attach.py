"""The base of a training with its method's parameters, the same on every worker."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from descant.core.seeds import seed_for
from descant.stages.compute_bases import reading_bases
from descant.stages.training.objective import Training


def attach(training: Training, model: Any, batches: Iterable[Mapping[str, torch.Tensor]]) -> torch.nn.Module:
    """``model`` adapted; ``batches`` are what it will read, for methods that start from data."""
    settings = training.settings
    if training.compute.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not settings.base_dropout:
        _silence_dropout(model)
    with reading_bases(training.bases):
        return settings.method.attach(model, seed=seed_for(settings.seed, "adapter"), batches=batches)


def _silence_dropout(model: torch.nn.Module) -> None:
    """Without it CPU attention takes its fast path: a fifth less time a step."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
