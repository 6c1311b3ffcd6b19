"""Where the singular vectors of a weight come from: a file of those computed before, or a computation here.

A job computes the bases of a model once, one task per weight, and every process that adapts that model reads them with
``bases_from``. Without it they are computed in the process that needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from descant.adapters.svft.basis import Basis, compute_basis
from descant.artifacts.mirror import fetch
from descant.core.errors import IntegrityError

if TYPE_CHECKING:
    import torch

MOST_ERROR = 1e-4
"""Relative error of W z, for one z, up to which a stored basis is taken for that of the weight."""

_FILES: ContextVar[Mapping[str, Path]] = ContextVar("bases", default={})  # noqa: B039 - never written to


@contextmanager
def bases_from(files: Mapping[str, Path]) -> Iterator[None]:
    """For the time of the block, read bases from ``files`` (sha256 of a weight -> file) where they are there."""
    token = _FILES.set({**_FILES.get(), **files})
    try:
        yield
    finally:
        _FILES.reset(token)


def basis_of(weight_oi: torch.Tensor, digest: str) -> Basis:
    """The basis of a weight whose sha256 is ``digest``; raises IntegrityError when a stored one is not its."""
    path = _FILES.get().get(digest)
    if path is None:
        return compute_basis(weight_oi)
    basis = read_basis(path)
    check_basis(basis, weight_oi, str(path))
    return basis


def write_basis(basis: Basis, path: Path) -> None:
    """Write one basis as safetensors, float32."""
    from safetensors.torch import save_file

    tensors = {name: getattr(basis, name).cpu().contiguous() for name in ("u_or", "s_r", "v_ir")}
    save_file(tensors, path)


def read_basis(path: Path) -> Basis:
    """The basis that ``write_basis`` wrote."""
    from safetensors.torch import load_file

    return Basis(**load_file(fetch(path)))


def check_basis(basis: Basis, weight_oi: torch.Tensor, where: str) -> None:
    """Raise IntegrityError when U S V^T is not the weight, by its product with one vector."""
    import torch

    weight_oi = weight_oi.float()
    u_or, s_r, v_ir = (tensor.to(weight_oi.device) for tensor in (basis.u_or, basis.s_r, basis.v_ir))
    if (len(u_or), len(v_ir)) == tuple(weight_oi.shape):
        z_i = torch.ones(len(v_ir), device=weight_oi.device).cumsum(0).sin()
        expected_o = weight_oi @ z_i
        error = float(
            (u_or @ (s_r * (v_ir.T @ z_i)) - expected_o).norm() / expected_o.norm().clamp_min(1e-30)
        )
        if error <= MOST_ERROR:
            return
        problem = f"its product with a vector differs by {error:.1e} from the weight's, at most {MOST_ERROR:.0e} may"
    else:
        problem = f"it is for {len(u_or)} x {len(v_ir)}, the weight is {tuple(weight_oi.shape)}"
    raise IntegrityError("E-SVFT-BASIS", where, problem, "Delete it; it is computed again.")
