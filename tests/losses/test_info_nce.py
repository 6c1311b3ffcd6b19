import math

import pytest
import torch

from descant.losses import ContrastBatch, InfoNce


def unit(rows: int, size: int, seed: int) -> torch.Tensor:
    values = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=1)


def batch_of(queries: torch.Tensor, candidates: torch.Tensor, relevant: list[set[int]]) -> ContrastBatch:
    step = len(candidates) // len(queries)
    mask = torch.tensor([[c in own for c in range(len(candidates))] for own in relevant])
    return ContrastBatch(queries, candidates, torch.arange(len(queries)) * step, mask)


def slow_info_nce(batch: ContrastBatch, temperature: float, mask: bool) -> float:
    total = 0.0
    for q, query in enumerate(batch.queries_qh.tolist()):
        positive = int(batch.positive_q[q])
        weights = {}
        for n, candidate in enumerate(batch.candidates_nh.tolist()):
            if mask and n != positive and batch.relevant_qn[q, n]:
                continue
            weights[n] = math.exp(sum(a * b for a, b in zip(query, candidate, strict=True)) / temperature)
        total -= math.log(weights[positive] / sum(weights.values()))
    return total / len(batch.queries_qh)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_info_nce_random_batch_equals_slow_loop(temperature: float, mask: bool) -> None:
    batch = batch_of(unit(3, 5, 0), unit(6, 5, 1), [{0, 4}, {2}, {4, 0, 1}])
    loss = InfoNce(temperature=temperature, mask_known_positives=mask)
    assert float(loss(batch)) == pytest.approx(slow_info_nce(batch, temperature, mask), rel=1e-5)


def test_info_nce_two_equal_candidates_is_log_two() -> None:
    query = torch.tensor([[1.0, 0.0]])
    batch = batch_of(query, query.repeat(2, 1), [{0}])
    assert float(InfoNce()(batch)) == pytest.approx(math.log(2))


def test_info_nce_known_positive_among_negatives_gets_no_gradient() -> None:
    candidates = unit(4, 3, 2).float().requires_grad_()
    InfoNce(temperature=1.0)(batch_of(unit(1, 3, 3).float(), candidates, [{0, 2}])).backward()
    assert candidates.grad is not None
    assert candidates.grad[2].abs().sum() == 0
    assert candidates.grad[[0, 1, 3]].abs().sum(1).min() > 0


def test_info_nce_gradient_matches_finite_differences() -> None:
    queries, candidates = unit(2, 4, 4).requires_grad_(), unit(4, 4, 5).requires_grad_()
    step = 1e-2  # the loss is float32

    def loss(q: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return InfoNce(temperature=1.0)(batch_of(q, c, [{0, 3}, {2}]))

    assert torch.autograd.gradcheck(loss, (queries, candidates), eps=step, atol=1e-4, nondet_tol=0)


def test_info_nce_bfloat16_vectors_give_a_float32_loss() -> None:
    batch = batch_of(unit(2, 4, 6).bfloat16(), unit(4, 4, 7).bfloat16(), [{0}, {2}])
    assert InfoNce()(batch).dtype == torch.float32
