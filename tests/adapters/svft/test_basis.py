"""The basis is the same whatever routine computed it, or the difference is seen."""

from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.linalg
import torch
from torch import Tensor

from descant.adapters.patterns import banded_positions
from descant.adapters.svft.basis import Basis, canonical, compute_basis, weight_digest
from descant.adapters.svft.checks import MOST_ERROR, relative_error
from descant.adapters.svft.probes import Probes
from descant.adapters.svft.products import product_of
from descant.adapters.svft.source import bases_from, basis_of, check_basis, read_basis, write_basis
from descant.core.errors import IntegrityError

Decomposition = tuple[Tensor, Tensor, Tensor]
SHAPES = ((24, 24), (36, 20), (20, 36))
NUM_CASES = 100


def gesdd(w: Tensor) -> Decomposition:
    u, s, vt = torch.linalg.svd(w, full_matrices=False)
    return u, s, vt.T


def gesvd(w: Tensor) -> Decomposition:
    u, s, vt = scipy.linalg.svd(w.numpy(), full_matrices=False, lapack_driver="gesvd")
    return torch.tensor(u), torch.tensor(s), torch.tensor(vt).T


def gram(w: Tensor) -> Decomposition:
    """By the eigenvectors of the smaller Gram matrix, which squares the condition number."""
    if w.shape[0] < w.shape[1]:
        v, s, u = gram(w.T)
        return u, s, v
    values, v = torch.linalg.eigh(w.T @ w)
    s, v = values.flip(0).clamp_min(0).sqrt(), v.flip(1)
    return (w @ v) / s.clamp_min(1e-300), s, v


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))[0]


def spectrum(kind: str, rank: int, generator: torch.Generator) -> Tensor:
    s = torch.rand(rank, generator=generator, dtype=torch.float64).sort(descending=True).values + 0.01
    if kind == "repeated":
        s[3:9] = s[3]
    if kind == "clustered":
        s[3:9] = s[3] * (1 - 1e-11 * torch.arange(6, dtype=torch.float64))
    if kind == "all equal":
        s[:] = 1
    if kind == "rank deficient":
        s[-rank // 3 :] = 0
    if kind == "small tail":
        s[-rank // 3 :] *= 1e-8
    return s


KINDS = ("ordinary", "repeated", "clustered", "all equal", "rank deficient", "small tail")


def update(u: Tensor, v: Tensor) -> Tensor:
    """A banded update with coefficients that depend on nothing but the rank."""
    rank, generator = u.shape[1], torch.Generator().manual_seed(7)
    m = torch.randn(rank, rank, generator=generator, dtype=torch.float64)
    return u @ (m.triu(-1) - m.triu(2)) @ v.T


def probes(u: Tensor, v: Tensor) -> list[float]:
    """What a saved adapter would keep of that update."""
    rank, generator = u.shape[1], torch.Generator().manual_seed(7)
    m = torch.randn(rank, rank, generator=generator, dtype=torch.float64)
    where = banded_positions(rank, 1)
    basis = Basis(u.float(), torch.ones(rank), v.float())
    return Probes.of_basis(basis).of_update(product_of(rank, where), m[where[0], where[1]].float())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("routine", [gesvd, gram])
def test_another_routine_gives_the_same_update_or_a_visible_difference(
    kind: str, routine: Callable[[Tensor], Decomposition]
) -> None:
    num_refused = 0
    for case in range(NUM_CASES):
        generator = torch.Generator().manual_seed(case)
        rows, columns = SHAPES[case % len(SHAPES)]
        rank = min(rows, columns)
        left, right = orthonormal(rows, rank, generator), orthonormal(columns, rank, generator)
        w = ((left * spectrum(kind, rank, generator)) @ right.T).float().double()
        u, v = canonical(*gesdd(w))
        other_u, other_v = canonical(*routine(w))
        expected = update(u, v)
        error = float((update(other_u, other_v) - expected).norm() / expected.norm())
        is_refused = not relative_error(probes(other_u, other_v), probes(u, v)) <= MOST_ERROR
        assert error <= 1e-4 or is_refused, f"case {case}: {error:.1e}"
        num_refused += is_refused
    if routine is gesvd or kind not in ("rank deficient", "small tail"):
        assert num_refused == 0


def test_without_canonical_vectors_the_update_would_differ() -> None:
    w = torch.randn(24, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (u, _, v), (other_u, _, other_v) = gesdd(w), gesvd(w)
    flips = torch.randint(0, 2, (24,), generator=torch.Generator().manual_seed(2)) * 2.0 - 1
    expected = update(u, v)
    assert (update(other_u * flips, other_v * flips) - expected).norm() > 0.5 * expected.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_canonical_vectors_still_decompose_the_weight(kind: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    rank = min(shape)
    left, right = orthonormal(shape[0], rank, generator), orthonormal(shape[1], rank, generator)
    w = (left * spectrum(kind, rank, generator)) @ right.T
    u, s, v = gesdd(w)
    u, v = canonical(u, s, v)
    torch.testing.assert_close((u * s) @ v.T, w, atol=1e-8, rtol=0)
    torch.testing.assert_close(u.T @ u, torch.eye(rank, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(v.T @ v, torch.eye(rank, dtype=torch.float64), atol=1e-9, rtol=0)


def test_weight_of_zeros_has_a_basis() -> None:
    basis = compute_basis(torch.zeros(5, 3))
    torch.testing.assert_close(basis.u_or.T @ basis.u_or, torch.eye(3))
    torch.testing.assert_close(basis.v_ir.T @ basis.v_ir, torch.eye(3))


def test_digest_is_of_the_values_whatever_their_type() -> None:
    w = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert weight_digest(w) == weight_digest(w.float()) == weight_digest(w.float().T.contiguous().T)
    assert weight_digest(w) != weight_digest(w.float() + 1e-3)
    assert weight_digest(w) != weight_digest(w.float().view(3, 4))


def test_stored_basis_is_read_instead_of_computed(tmp_path: Path) -> None:
    w = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    basis, digest = compute_basis(w), weight_digest(w)
    flipped = Basis(
        -basis.u_or, basis.s_r, -basis.v_ir
    )  # as right as the other, so it shows where it comes from
    write_basis(flipped, tmp_path / "basis.safetensors")
    with bases_from({digest: tmp_path / "basis.safetensors"}):
        assert torch.equal(basis_of(w, digest).u_or, flipped.u_or)
    assert torch.equal(basis_of(w, digest).u_or, basis.u_or)


def test_stored_basis_of_another_weight_is_refused(tmp_path: Path) -> None:
    w, other = (torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    write_basis(compute_basis(other), tmp_path / "a.safetensors")
    with pytest.raises(IntegrityError, match="its product with a vector differs by"):
        check_basis(read_basis(tmp_path / "a.safetensors"), w, "a")
    with pytest.raises(IntegrityError, match=r"it is for 6 x 4, the weight is \(4, 6\)"):
        check_basis(read_basis(tmp_path / "a.safetensors"), w.T, "a")
