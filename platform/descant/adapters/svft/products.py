"""g = h M^T for a sparse M, its gradients, and nothing kept for them but h.

Three forms by the pattern's shape: a diagonal is a multiplication; a band is cut into blocks of neighbouring rows, each
needing a short window of neighbouring columns, so all of it is one batched matmul; anything else is a product with a
sparse matrix in compressed rows. Legend: t tokens, r rank, k trained coefficients, d off-diagonals; a band has n blocks
of b rows and windows of w = b + 2d columns.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from descant.adapters.patterns import num_positions

BLOCK = 64
"""Rows of a band's blocks: 32 to 64 are fastest on a CPU, and a GPU's tiles are as large."""


class Product(nn.Module, ABC):
    """Multiplies by a sparse r x r matrix whose positions are fixed; its coefficients are given each time."""

    diagonal_r: Tensor | None
    """int64 [r]: which coefficients stand on the diagonal; None where some of it is no position of the matrix."""

    def __init__(self, rank: int, positions: Tensor) -> None:
        super().__init__()
        self.rank = rank
        diagonal_r = torch.nonzero(positions[0] == positions[1]).flatten()
        self.register_buffer("diagonal_r", diagonal_r if len(diagonal_r) == rank else None, persistent=False)

    def forward(self, h_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """[t, r] = h M^T in the dtype of h, differentiable in both; only h is kept for the gradients."""
        return cast("Tensor", _Product.apply(h_tr, coefficients_k, self))

    @abstractmethod
    def multiply(self, h_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """[t, r] = h M^T; all of one dtype, no gradients."""

    @abstractmethod
    def multiply_transposed(self, g_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """[t, r] = g M; all of one dtype, no gradients."""

    @abstractmethod
    def outer(self, g_tr: Tensor, h_tr: Tensor) -> Tensor:
        """[k]: g^T h at the matrix's positions, the gradient of the coefficients when g is that of h M^T."""


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h_tr: Tensor, coefficients_k: Tensor, product: Product) -> Tensor:
        ctx.product = product
        ctx.save_for_backward(h_tr, coefficients_k)
        return product.multiply(h_tr, coefficients_k.to(h_tr.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient_tr,) = gradients
        h_tr, coefficients_k = ctx.saved_tensors
        of_h = of_coefficients = None
        if ctx.needs_input_grad[0]:
            of_h = ctx.product.multiply_transposed(gradient_tr, coefficients_k.to(gradient_tr.dtype))
        if ctx.needs_input_grad[1]:
            of_coefficients = ctx.product.outer(gradient_tr, h_tr).to(coefficients_k.dtype)
        return of_h, of_coefficients, None


class Diagonal(Product):
    """M is a diagonal; its coefficients are in the order of the rows."""

    def multiply(self, h_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """Row by row."""
        return h_tr * coefficients_k

    def multiply_transposed(self, g_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """The same, since M = M^T."""
        return g_tr * coefficients_k

    def outer(self, g_tr: Tensor, h_tr: Tensor) -> Tensor:
        """The column sums of g times h."""
        return (g_tr * h_tr).sum(0)


class Band(Product):
    """M is zero further than ``off_diagonals`` from its diagonal; ``positions`` int64 [2, k] are the others."""

    index_k: Tensor
    transposed_k: Tensor

    def __init__(self, rank: int, off_diagonals: int, positions: Tensor) -> None:
        super().__init__(rank, positions)
        self.d = off_diagonals
        self.block = min(BLOCK, rank)
        self.num_blocks = -(-rank // self.block)
        self.width = self.block + 2 * self.d
        rows_k, columns_k = positions
        self.register_buffer("index_k", self._index(rows_k, columns_k), persistent=False)
        self.register_buffer("transposed_k", self._index(columns_k, rows_k), persistent=False)

    def multiply(self, h_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """One batched matmul over the blocks."""
        return self._multiplied(h_tr, self._blocks(coefficients_k, self.index_k))

    def multiply_transposed(self, g_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """The same with the blocks of M^T."""
        return self._multiplied(g_tr, self._blocks(coefficients_k, self.transposed_k))

    def outer(self, g_tr: Tensor, h_tr: Tensor) -> Tensor:
        """One batched matmul, of which the band is read."""
        fill = self.num_blocks * self.block - self.rank
        blocks_ntb = functional.pad(g_tr, (0, fill)).view(-1, self.num_blocks, self.block).transpose(0, 1)
        return torch.bmm(self._windows(h_tr).transpose(1, 2), blocks_ntb).flatten()[self.index_k]

    def _index(self, rows_k: Tensor, columns_k: Tensor) -> Tensor:
        """Where each coefficient stands in [n, w, b], flat."""
        block_k = rows_k // self.block
        inside_k = columns_k - block_k * self.block + self.d
        return (block_k * self.width + inside_k) * self.block + rows_k % self.block

    def _blocks(self, coefficients_k: Tensor, index_k: Tensor) -> Tensor:
        """[n, w, b], zero where no coefficient stands."""
        flat = coefficients_k.new_zeros(self.num_blocks * self.width * self.block)
        return flat.index_copy_(0, index_k, coefficients_k).view(self.num_blocks, self.width, self.block)

    def _windows(self, h_tr: Tensor) -> Tensor:
        """[n, t, w]: overlapping views of h with zeros around it."""
        fill = self.num_blocks * self.block - self.rank
        return functional.pad(h_tr, (self.d, self.d + fill)).unfold(1, self.width, self.block).transpose(0, 1)

    def _multiplied(self, h_tr: Tensor, blocks_nwb: Tensor) -> Tensor:
        found_ntb = torch.bmm(self._windows(h_tr), blocks_nwb)
        return found_ntb.transpose(0, 1).reshape(h_tr.shape[0], -1)[:, : self.rank]


class Scattered(Product):
    """M has its ``positions`` int64 [2, k] anywhere, sorted by rows. Half precision is computed in float32."""

    starts: Tensor
    columns_k: Tensor
    order_k: Tensor
    transposed_starts: Tensor
    transposed_columns_k: Tensor

    def __init__(self, rank: int, positions: Tensor) -> None:
        super().__init__(rank, positions)
        rows_k, columns_k = positions
        order_k = torch.argsort(columns_k * rank + rows_k)
        buffers = {
            "starts": _starts(rows_k, rank),
            "columns_k": columns_k.contiguous(),
            "order_k": order_k,
            "transposed_starts": _starts(columns_k[order_k], rank),
            "transposed_columns_k": rows_k[order_k],
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def multiply(self, h_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """A sparse matrix times h^T."""
        return sparse_multiply(self.starts, self.columns_k, coefficients_k, h_tr)

    def multiply_transposed(self, g_tr: Tensor, coefficients_k: Tensor) -> Tensor:
        """The same with M^T."""
        return sparse_multiply(
            self.transposed_starts, self.transposed_columns_k, coefficients_k[self.order_k], g_tr
        )

    def outer(self, g_tr: Tensor, h_tr: Tensor) -> Tensor:
        """A product of dense matrices of which only M's positions are computed."""
        return sparse_outer(self.starts, self.columns_k, g_tr, h_tr)


@torch.library.custom_op("descant::sparse_multiply", mutates_args=())
def sparse_multiply(starts: Tensor, columns_k: Tensor, values_k: Tensor, h_tr: Tensor) -> Tensor:
    """[t, r] = h M^T for M in compressed rows; an operator of its own, so that torch.compile does not look inside."""
    size, dtype = len(starts) - 1, _full(h_tr.dtype)
    with torch.autocast(h_tr.device.type, enabled=False):
        matrix = _compressed(starts, columns_k, values_k.to(dtype), size)
        return (matrix @ h_tr.T.to(dtype).contiguous()).T.to(h_tr.dtype).contiguous()


@sparse_multiply.register_fake
def _(starts: Tensor, columns_k: Tensor, values_k: Tensor, h_tr: Tensor) -> Tensor:
    return torch.empty(h_tr.shape, dtype=h_tr.dtype, device=h_tr.device)


@torch.library.custom_op("descant::sparse_outer", mutates_args=())
def sparse_outer(starts: Tensor, columns_k: Tensor, g_tr: Tensor, h_tr: Tensor) -> Tensor:
    """[k] = g^T h at the positions of a matrix in compressed rows."""
    size, dtype = len(starts) - 1, _full(h_tr.dtype)
    with torch.autocast(h_tr.device.type, enabled=False):
        nothing = _compressed(
            starts, columns_k, torch.zeros(len(columns_k), dtype=dtype, device=h_tr.device), size
        )
        found = torch.sparse.sampled_addmm(
            nothing, g_tr.T.to(dtype).contiguous(), h_tr.to(dtype).contiguous()
        )
    return found.values().to(h_tr.dtype).clone()


@sparse_outer.register_fake
def _(starts: Tensor, columns_k: Tensor, g_tr: Tensor, h_tr: Tensor) -> Tensor:
    return torch.empty(columns_k.shape, dtype=h_tr.dtype, device=h_tr.device)


def _compressed(starts: Tensor, columns_k: Tensor, values_k: Tensor, size: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(starts, columns_k, values_k, (size, size), check_invariants=False)


def _full(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def product_of(rank: int, positions_2k: Tensor) -> Product:
    """The product for an M of these positions, int64 [2, k] sorted by rows."""
    rows_k, columns_k = positions_2k
    d = int((rows_k - columns_k).abs().max())
    if len(rows_k) != num_positions("banded", rank, d):
        return Scattered(rank, positions_2k)
    return Band(rank, d, positions_2k) if d else Diagonal(rank, positions_2k)


def _starts(sorted_k: Tensor, rank: int) -> Tensor:
    """int64 [r + 1]: where each row begins."""
    counts = torch.bincount(sorted_k, minlength=rank)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
