"""Products with sparse matrices against dense ones, values and gradients."""

import pytest
import torch

from descant.adapters.patterns import banded_positions, positions
from descant.adapters.svft.products import Band, Diagonal, Product, Scattered, product_of

RANKS = (1, 2, 5, 63, 64, 65, 130)


def scattered(rank: int, count: int, seed: int) -> torch.Tensor:
    flat = torch.randperm(rank * rank, generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return torch.stack([flat // rank, flat % rank])


def cases() -> list[tuple[str, int, torch.Tensor]]:
    found = []
    for rank in RANKS:
        found += [(f"diagonal-{rank}", rank, banded_positions(rank, 0))]
        found += [(f"band-{d}-{rank}", rank, banded_positions(rank, d)) for d in (1, 8, 40) if d < rank]
        found += [(f"scattered-{rank}", rank, scattered(rank, max(1, rank), 1))]
    return found


@pytest.mark.parametrize(("rank", "where"), [pytest.param(r, p, id=n) for n, r, p in cases()])
@pytest.mark.parametrize("tokens", [1, 7])
def test_product_and_its_gradients_are_those_of_the_dense_matrix(
    rank: int, where: torch.Tensor, tokens: int
) -> None:
    torch.manual_seed(0)
    product = product_of(rank, where)
    coefficients = torch.randn(where.shape[1], dtype=torch.float64, requires_grad=True)
    h = torch.randn(tokens, rank, dtype=torch.float64, requires_grad=True)
    dense = torch.zeros(rank, rank, dtype=torch.float64)
    dense[where[0], where[1]] = coefficients.detach()
    dense.requires_grad_()
    twin = h.detach().clone().requires_grad_()
    gradient = torch.randn(tokens, rank, dtype=torch.float64)
    found, expected = product(h, coefficients), twin @ dense.T
    found.backward(gradient)
    expected.backward(gradient)
    assert dense.grad is not None
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(h.grad, twin.grad)
    torch.testing.assert_close(coefficients.grad, dense.grad[where[0], where[1]])


def test_each_pattern_gets_the_product_that_fits_it() -> None:
    u = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))[0]

    def kind(pattern: str, d: int) -> type[Product]:
        return type(product_of(20, positions(pattern, u, u, off_diagonals=d, seed=0)))  # type: ignore[arg-type]

    assert kind("plain", 3) is kind("banded", 0) is Diagonal
    assert kind("banded", 3) is Band
    assert kind("random", 3) is kind("top_k", 3) is Scattered


@pytest.mark.parametrize("where", [banded_positions(70, 3), scattered(70, 200, 2)], ids=["band", "scattered"])
def test_only_h_and_the_coefficients_are_kept_for_the_gradients(where: torch.Tensor) -> None:
    product = product_of(70, where)
    h = torch.randn(64, 70, requires_grad=True)
    coefficients = torch.randn(where.shape[1], requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        product(h, coefficients)
    assert [tuple(t.shape) for t in kept] == [(64, 70), (where.shape[1],)]
