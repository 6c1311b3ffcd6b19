"""The DeepSpeed engine around the model: one configuration for ZeRO 0 to 3, on CPU (gloo) and GPU (nccl)."""

import logging
import os
from typing import Any

import torch

from descant.stages.training.objective import Objective
from descant.stages.training.schedule import build_optimizer, build_schedule
from descant.stages.training.settings import Optimisation, TrainCompute


def import_deepspeed(device: str) -> Any:
    """The library, told beforehand which device to use: it looks for one when it is imported."""
    os.environ.setdefault("DS_ACCELERATOR", device)
    os.environ.setdefault("LOCAL_RANK", "0")  # set by Ray Train; a process of its own is the first
    import deepspeed

    return deepspeed


def build_engine(objective: Objective[Any], settings: Optimisation, compute: TrainCompute) -> Any:
    """A ``DeepSpeedEngine`` whose calls are averaged over workers and stepped by torch AdamW."""
    deepspeed = import_deepspeed(compute.device)
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # Its shared-memory op would be compiled for a minute; gloo gives the same numbers.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    optimizer = build_optimizer(
        objective.module.parameters(), settings, objective.rates(), objective.starts()
    )
    engine, *_ = deepspeed.initialize(
        model=objective.module,
        optimizer=optimizer,
        lr_scheduler=build_schedule(optimizer, settings, objective.num_steps),
        config=_configuration(objective, settings, compute),
    )
    return engine


def gradient_norm(engine: Any) -> float | None:
    """The norm of the averaged gradient before clipping where the engine keeps none (ZeRO 0 in fp32)."""
    if engine.zero_optimization() or engine.bfloat16_enabled():
        return None
    grads = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads))


def full_state(engine: Any) -> dict[str, torch.Tensor]:
    """Trainable tensors by name, whole, on CPU; filled on rank 0 alone. Every worker must call this."""
    import deepspeed

    state = {}
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad:
            with deepspeed.zero.GatheredParameters(parameter):
                if engine.global_rank == 0:
                    state[name] = parameter.detach().cpu().clone()
    return state


def _configuration(
    objective: Objective[Any], settings: Optimisation, compute: TrainCompute
) -> dict[str, Any]:
    return {
        # For its own figures: which micro-batch ends a step, and what its loss is divided by, the loop says.
        "train_micro_batch_size_per_gpu": objective.plan.micro_batch,
        "gradient_accumulation_steps": objective.plan.accumulation,
        "gradient_clipping": settings.max_grad_norm,
        "zero_optimization": {"stage": compute.zero},
        "zero_allow_untested_optimizer": True,  # torch AdamW, the same on every device
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": objective.precision == "bf16"},
        "steps_per_print": 2**31,
    }
