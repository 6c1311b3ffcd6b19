"""The singular vectors of one weight, the same whatever routine computed them.

A routine may return any sign of a pair of singular vectors, any rotation of those whose singular values are equal,
and any vectors at all where the singular value is zero. An adapter that stores coefficients only would then apply them
to other vectors than it was trained with. ``canonical`` removes that freedom: in each cluster of near-equal values the
vectors are rotated so that their products with fixed pseudo-random vectors form a triangle with a positive
diagonal, which for a single vector fixes its sign.

Legend: o outputs, i inputs, r = min(o, i).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CLUSTER = 1e-9
"""Neighbouring singular values closer than this, relative to the largest, count as equal."""
ZERO = 1e-12
"""Singular values below this, relative to the largest, count as zero: their vectors come from no product."""
DIRECTIONS_SEED = 20406


@dataclass(frozen=True)
class Basis:
    """W = U diag(s) V^T with ``u_or`` [o, r], ``s_r`` [r] falling, ``v_ir`` [i, r], all float32."""

    u_or: torch.Tensor
    s_r: torch.Tensor
    v_ir: torch.Tensor


def weight_digest(weight_oi: torch.Tensor) -> str:
    """sha256 of a weight's shape and values; equal for the same values in another dtype."""
    import torch

    exact = weight_oi.detach().to("cpu", torch.float64 if weight_oi.dtype == torch.float64 else torch.float32)
    digest = hashlib.sha256(repr(tuple(exact.shape)).encode())
    digest.update(exact.contiguous().numpy().data)
    return digest.hexdigest()


def compute_basis(weight_oi: torch.Tensor) -> Basis:
    """The canonical thin singular value decomposition, computed in float64 on the weight's device."""
    import torch

    u_or, s_r, v_ri = torch.linalg.svd(weight_oi.detach().double(), full_matrices=False)
    u_or, v_ir = canonical(u_or, s_r, v_ri.T)
    return Basis(u_or.float(), s_r.float(), v_ir.float())


def canonical(u_or: torch.Tensor, s_r: torch.Tensor, v_ir: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of a decomposition in float64, rotated within clusters as this module says."""
    import torch

    largest = float(s_r[0]) if len(s_r) else 0.0
    filled = int((s_r > ZERO * largest).sum())
    signs_r = torch.where(_directions(u_or.shape[0], 1, u_or).T @ u_or < 0, -1.0, 1.0).to(u_or)
    u_or, v_ir = u_or * signs_r, v_ir * signs_r
    gaps = s_r[: max(filled - 1, 0)] - s_r[1 : max(filled, 1)]
    ends = [*(torch.flatten(torch.nonzero(gaps > CLUSTER * largest)) + 1).tolist(), filled]
    for begin, end in zip([0, *ends], ends, strict=False):
        if end - begin > 1:
            rotation_cc = _rotation(u_or[:, begin:end])
            u_or[:, begin:end] = u_or[:, begin:end] @ rotation_cc
            v_ir[:, begin:end] = v_ir[:, begin:end] @ rotation_cc
    u_or[:, filled:] = _completion(u_or[:, :filled], u_or.shape[1] - filled)
    v_ir[:, filled:] = _completion(v_ir[:, :filled], v_ir.shape[1] - filled)
    return u_or, v_ir


def _rotation(vectors_oc: torch.Tensor) -> torch.Tensor:
    """[c, c], orthogonal: turns an orthonormal basis of a space into the one that depends on the space alone."""
    product_cc = vectors_oc.T @ _directions(vectors_oc.shape[0], vectors_oc.shape[1], vectors_oc)
    return _positive_qr(product_cc)


def _completion(vectors_or: torch.Tensor, count: int) -> torch.Tensor:
    """[o, count], orthonormal and orthogonal to ``vectors_or``, dependent on the space of those alone."""
    chosen_oc = _directions(vectors_or.shape[0], count, vectors_or)
    for _ in range(2):  # twice is enough for orthogonality to rounding
        chosen_oc = chosen_oc - vectors_or @ (vectors_or.T @ chosen_oc)
        chosen_oc = _positive_qr(chosen_oc)
    return chosen_oc


def _positive_qr(matrix: torch.Tensor) -> torch.Tensor:
    """The orthogonal factor whose triangular factor has a positive diagonal, which makes it unique."""
    import torch

    q, r = torch.linalg.qr(matrix)
    return q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q.dtype)


def _directions(size: int, count: int, like: torch.Tensor) -> torch.Tensor:
    """float64 [size, count] fixed normal numbers; the first columns do not depend on ``count``."""
    import torch

    generator = torch.Generator().manual_seed(DIRECTIONS_SEED)
    return torch.randn(count, size, generator=generator, dtype=torch.float64).T.to(like)
