"""A few numbers that move with any change of an update: q^T U M V^T z for fixed vectors q and z.

Legend: p probes, o outputs, i inputs, r rank, k trained coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from descant.adapters.svft.basis import Basis
    from descant.adapters.svft.products import Product

NUM_PROBES = 8
SEED = 24051


@dataclass(frozen=True)
class Probes:
    """The probing vectors in a basis: ``left_pr`` and ``right_pr``, float32 on the CPU, exact whatever W's dtype is."""

    left_pr: Tensor
    right_pr: Tensor

    @classmethod
    def of_basis(cls, basis: Basis) -> Self:
        """Those of one weight; weights of one shape share q and z."""
        generator = torch.Generator().manual_seed(SEED)
        q_po = torch.randn(NUM_PROBES, len(basis.u_or), generator=generator)
        z_pi = torch.randn(NUM_PROBES, len(basis.v_ir), generator=generator)
        return cls(q_po @ basis.u_or.cpu(), z_pi @ basis.v_ir.cpu())

    def of_update(self, product: Product, coefficients_k: Tensor) -> list[float]:
        """The probes of U M V^T; ``coefficients_k`` float32 [k] on the device of the product."""
        with torch.no_grad():
            right_pr = product.multiply(
                self.right_pr[:, : product.rank].to(coefficients_k.device), coefficients_k
            )
            found_p = (self.left_pr[:, : product.rank].double() * right_pr.cpu().double()).sum(1)
        return [float(number) for number in found_p]
