import os
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from descant.losses import ContrastBatch, InfoNce
from descant.losses.gather import gather_with_gradient

ROWS, SIZE, PER_ROW = 8, 6, 3


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(ROWS, SIZE, generator=generator),
        torch.randn(ROWS * PER_ROW, SIZE, generator=generator),
    )


def averaged_gradient(rank: int, workers: int) -> torch.Tensor:
    """The gradient of a shared projection for this worker's share of the rows, averaged over workers."""
    generator = torch.Generator().manual_seed(1)
    projection = torch.randn(SIZE, SIZE, generator=generator, requires_grad=True)
    queries, passages = inputs()
    share = ROWS // workers
    mine = slice(rank * share, (rank + 1) * share)
    queries_qh = torch.nn.functional.normalize(queries[mine] @ projection, dim=1)
    passages_mh = passages.view(ROWS, PER_ROW, SIZE)[mine].reshape(-1, SIZE)
    candidates_nh = gather_with_gradient(torch.nn.functional.normalize(passages_mh @ projection, dim=1))
    positive_q = torch.arange(ROWS)[mine] * PER_ROW
    relevant_qn = torch.arange(ROWS * PER_ROW)[None] == positive_q[:, None]
    InfoNce()(ContrastBatch(queries_qh, candidates_nh, positive_q, relevant_qn)).backward()
    assert projection.grad is not None
    if workers > 1:
        dist.all_reduce(projection.grad)
    return projection.grad / workers


def work(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=workers)
    torch.save(averaged_gradient(rank, workers), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_gather_gradient_of_two_workers_equals_that_of_one(tmp_path: Path) -> None:
    workers = 2
    mp.spawn(work, (workers, str(tmp_path)), nprocs=workers)
    alone = averaged_gradient(0, 1)
    for rank in range(workers):
        together = torch.load(tmp_path / f"{rank}.pt")
        assert float((together - alone).norm() / alone.norm()) < 1e-6


def test_gather_without_workers_returns_the_rows_themselves() -> None:
    rows = torch.ones(2, 3)
    assert gather_with_gradient(rows) is rows
    assert "RANK" not in os.environ
