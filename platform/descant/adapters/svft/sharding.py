"""Reading parameters that DeepSpeed's ZeRO-3 keeps in shards."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor


def is_sharded(parameter: object) -> bool:
    """Whether ZeRO-3 owns the parameter, so that between forward passes it may be empty."""
    return hasattr(parameter, "ds_id")


@contextmanager
def gathered(*parameters: Tensor | None) -> Iterator[None]:
    """The parameters are whole for the time of the block, which every worker must come to."""
    sharded = [parameter for parameter in parameters if is_sharded(parameter)]
    if not sharded:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(sharded):
        yield
