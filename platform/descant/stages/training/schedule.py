"""The optimiser and its learning rate over the steps."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from descant.stages.training.settings import Optimisation


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter],
    settings: Optimisation,
    rates: Mapping[torch.nn.Parameter, float] | None = None,
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; matrices are decayed, vectors are not.

    ``rates`` holds the parameters whose peak learning rate is their own; their groups come last.
    """
    rates, usual = rates or {}, settings.learning_rate
    trainable = [p for p in parameters if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for rate in (usual, *sorted(set(rates.values()) - {usual})):
        chosen = [p for p in trainable if rates.get(p, usual) == rate]
        matrices, vectors = [p for p in chosen if p.ndim >= 2], [p for p in chosen if p.ndim < 2]
        groups.append({"params": matrices, "lr": rate, "weight_decay": settings.weight_decay})
        groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=usual,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
    )


def build_schedule(optimizer: torch.optim.Optimizer, settings: Optimisation, num_steps: int) -> LambdaLR:
    """The learning rate of ``settings`` over ``num_steps`` optimiser steps."""
    return LambdaLR(optimizer, lambda step: rate_at(step, settings, num_steps))


def rate_at(step: int, settings: Optimisation, num_steps: int) -> float:
    """The share of the peak learning rate at ``step``: a linear rise, then the chosen shape."""
    warmup = math.ceil(settings.warmup_ratio * num_steps)
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    shapes = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
    return shapes[settings.lr_scheduler_type]
