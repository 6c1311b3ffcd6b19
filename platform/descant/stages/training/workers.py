"""Between the workers of a training: who is first, one answer for all, and one process as a group of one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from descant.core.errors import DescantError

Answer = TypeVar("Answer")


def join_group(device: str) -> None:
    """Use the process group that is there (Ray Train's), or make one of this process alone.

    It stays until the process ends: DeepSpeed keeps the groups it has seen once, and the next training in this
    process must find them alive.
    """
    if not dist.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)


def is_first() -> bool:
    """Whether this is the worker that writes what is written once."""
    return dist.get_rank() == 0


def first_answers(question: Callable[[], Answer]) -> Answer:
    """The answer of rank 0 on every worker; a DescantError it raises is raised on all of them.

    Errors that all workers share end a run at once; one worker failing alone would leave the others waiting.
    """
    box: list[Any] = [None, None]
    if is_first():
        try:
            box[0] = question()
        except DescantError as error:
            box[1] = error
    dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    return box[0]
