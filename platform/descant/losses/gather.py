"""All-gather with gradient: every worker scores its queries against the passages of all workers.

Legend: m rows of one worker, g rows of all workers, h embedding size.
"""

from typing import Any

import torch
import torch.distributed as dist


def gather_with_gradient(rows_mh: torch.Tensor) -> torch.Tensor:
    """The rows of all workers in rank order, [g, h]; every worker must bring the same number of rows.

    Backward: each row gets the sum of the gradients that all workers have for it. Workers average their
    parameter gradients afterwards, so mean losses over equal shares give the gradient of the mean over all
    queries, as one worker alone would compute it.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_mh
    return _Gather.apply(rows_mh)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_mh: torch.Tensor) -> torch.Tensor:
        ctx.num_rows = rows_mh.shape[0]
        rows_gh = rows_mh.new_empty(dist.get_world_size() * rows_mh.shape[0], *rows_mh.shape[1:])
        dist.all_gather_into_tensor(rows_gh, rows_mh.contiguous())
        return rows_gh

    @staticmethod
    def backward(ctx: Any, grad_gh: torch.Tensor) -> torch.Tensor:
        grad_gh = grad_gh.contiguous().clone()  # all_reduce works in place; autograd may still own this one
        dist.all_reduce(grad_gh)
        start = dist.get_rank() * ctx.num_rows
        return grad_gh[start : start + ctx.num_rows]
