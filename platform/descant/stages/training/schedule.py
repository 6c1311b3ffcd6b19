"""The optimiser and its learning rate over the steps."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from descant.stages.training.settings import Optimisation


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter],
    settings: Optimisation,
    rates: Mapping[torch.nn.Parameter, float] | None = None,
    starts: Mapping[torch.nn.Parameter, int] | None = None,
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; matrices are decayed, vectors are not.

    ``rates`` holds the parameters whose peak learning rate is their own, ``starts`` those that stay as they are up to
    a step; their groups come last.
    """
    rates, starts = rates or {}, starts or {}
    usual = (settings.learning_rate, 0)
    chosen: dict[tuple[float, int], list[torch.nn.Parameter]] = {usual: []}
    for p in parameters:
        if p.requires_grad:
            chosen.setdefault((rates.get(p, usual[0]), starts.get(p, 0)), []).append(p)
    groups: list[dict[str, Any]] = []
    for rate, start in (usual, *sorted(chosen.keys() - {usual})):
        alike = chosen[rate, start]
        shared = {"lr": rate, "starts_at": start}
        matrices, vectors = [p for p in alike if p.ndim >= 2], [p for p in alike if p.ndim < 2]
        groups.append({"params": matrices, "weight_decay": settings.weight_decay, **shared})
        groups.append({"params": vectors, "weight_decay": 0.0, **shared})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
    )


def build_schedule(optimizer: torch.optim.Optimizer, settings: Optimisation, num_steps: int) -> LambdaLR:
    """The learning rate of ``settings`` over ``num_steps`` optimiser steps; 0 before a group starts."""

    def rate(starts_at: int) -> Callable[[int], float]:
        return lambda step: rate_at(step, settings, num_steps) if step >= starts_at else 0.0

    return LambdaLR(optimizer, [rate(group["starts_at"]) for group in optimizer.param_groups])


def rate_at(step: int, settings: Optimisation, num_steps: int) -> float:
    """The share of the peak learning rate at ``step``: a linear rise, then the chosen shape."""
    warmup = math.ceil(settings.warmup_ratio * num_steps)
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    shapes = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
    return shapes[settings.lr_scheduler_type]
