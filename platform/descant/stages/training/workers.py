"""Between the workers of a training: who is first, one answer for all, and one process as a group of one."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from descant.core.errors import DescantError

Answer = TypeVar("Answer")


def join_group(device: str) -> None:
    """Use the process group that is there (Ray Train's), or make one of this process alone.

    It stays until the process ends: DeepSpeed keeps the groups it has seen once, and the next training in
    this process must find them alive.
    """
    if not dist.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)


def largest(number: int) -> int:
    """The largest of the workers' numbers, on every worker."""
    numbers = [number] * dist.get_world_size()
    dist.all_gather_object(numbers, number)
    return max(numbers)


def is_first() -> bool:
    """Whether this is the worker that writes what is written once."""
    return dist.get_rank() == 0


def all_agree(question: Callable[[], Answer]) -> Answer:
    """Each worker's own answer; the first DescantError that any of them meets is raised on all of them.

    ``question`` must not talk to other workers. Errors that all share end a run at once; one worker failing
    alone would leave the others waiting.
    """
    answer, error = _tried(question)
    errors: list[DescantError | None] = [None] * dist.get_world_size()
    dist.all_gather_object(errors, error)
    for met in errors:
        if met is not None:
            raise met
    return cast("Answer", answer)


def first_answers(question: Callable[[], Answer]) -> Answer:
    """The answer of rank 0 on every worker; a DescantError it raises is raised on all of them."""
    box: list[Any] = list(_tried(question)) if is_first() else [None, None]
    dist.broadcast_object_list(box, src=0)
    answer, error = box
    if error is not None:
        raise error
    return cast("Answer", answer)


def _tried(question: Callable[[], Answer]) -> tuple[Answer | None, DescantError | None]:
    try:
        return question(), None
    except DescantError as error:
        return None, error
