"""The optimiser and its learning rate over the steps."""

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR

from descant.stages.training.settings import TrainSettings


def build_optimizer(parameters: Iterable[torch.nn.Parameter], settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; matrices are decayed, vectors are not."""
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
    )


def build_schedule(optimizer: torch.optim.Optimizer, settings: TrainSettings, num_steps: int) -> LambdaLR:
    """The learning rate of ``settings`` over ``num_steps`` optimiser steps."""
    return LambdaLR(optimizer, lambda step: rate_at(step, settings, num_steps))


def rate_at(step: int, settings: TrainSettings, num_steps: int) -> float:
    """The share of the peak learning rate at ``step``: a linear rise, then the chosen shape."""
    warmup = math.ceil(settings.warmup_ratio * num_steps)
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    shapes = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
    return shapes[settings.lr_scheduler_type]
