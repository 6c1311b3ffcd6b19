"""Which coefficients of M train: the sparsity patterns of SVFT (arXiv:2405.19597, section 3).

M is r x r and zero outside a fixed set of positions. All patterns but ``plain`` hold as many positions as a band of
``off_diagonals`` on each side of the diagonal. Legend: r the rank, d the off-diagonals, k the number of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from descant.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

Pattern = Literal["plain", "banded", "random", "top_k"]
Rectangular = Literal["refuse", "banded"]


def num_positions(pattern: Pattern, rank: int, off_diagonals: int) -> int:
    """k = r (2d + 1) - d (d + 1), at most r x r; r for ``plain``."""
    d = 0 if pattern == "plain" else min(off_diagonals, rank - 1)
    return rank * (2 * d + 1) - d * (d + 1)


def budget_of(trainable: str | int, num_parameters: int) -> int:
    """A number of coefficients from a number, or from a share of the base's parameters such as ``0.1%``.

    Raises ValueError for any other text.
    """
    text = str(trainable).strip()
    try:
        return int(float(text[:-1]) / 100 * num_parameters) if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"trainable is {trainable!r}, expected a number or a share such as '0.1%'") from None


def off_diagonals_within(budget: int, pattern: Pattern, ranks: Sequence[int]) -> int:
    """The most off-diagonals with which weights of these ranks train at most ``budget`` coefficients together.

    Raises ConfigError where even the diagonals are too many, and for ``plain``, which leaves nothing to choose.
    """
    if pattern == "plain":
        raise _refused(
            "pattern: plain", "trains one coefficient per rank, whatever the budget", "Leave the budget out."
        )

    def needed(d: int) -> int:
        return sum(num_positions(pattern, rank, d) for rank in ranks)

    if needed(0) > budget:
        raise _refused(
            f"trainable: {budget:,}",
            f"the diagonals alone hold {needed(0):,} coefficients",
            "Allow more, or adapt less.",
        )
    low, high = 0, max(ranks, default=1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= budget else (low, middle)
    return low


def positions(
    pattern: Pattern,
    u_or: torch.Tensor,
    v_ir: torch.Tensor,
    *,
    off_diagonals: int,
    seed: int,
    rectangular: Rectangular = "refuse",
) -> torch.Tensor:
    """int64 [2, k]: row and column of each trained coefficient, by rows, none twice.

    ``random`` draws without repetition. ``top_k`` takes the largest ``|u_i . v_j|``; that product exists for square
    weights only: others raise ConfigError, or get a band where ``rectangular`` says so.
    """
    import torch

    rank = u_or.shape[1]
    count = num_positions(pattern, rank, off_diagonals)
    if pattern == "top_k" and u_or.shape[0] != v_ir.shape[0]:
        if rectangular == "refuse":
            raise _refused(
                "pattern: top_k",
                f"u_i . v_j is not defined for a weight of {u_or.shape[0]} x {v_ir.shape[0]}",
                "Adapt square weights only, choose another pattern, or set rectangular: banded.",
            )
        pattern = "banded"
    if pattern == "random":
        generator = torch.Generator().manual_seed(seed)
        flat = torch.randperm(rank * rank, generator=generator)[:count].sort().values
    elif pattern == "top_k":
        similar_rr = (u_or.double().T @ v_ir.double()).abs()
        flat = similar_rr.flatten().topk(count).indices.sort().values.cpu()
    else:
        d = 0 if pattern == "plain" else off_diagonals
        return banded_positions(rank, d)
    return torch.stack([flat // rank, flat % rank])


def banded_positions(rank: int, off_diagonals: int) -> torch.Tensor:
    """int64 [2, k]: every position with ``|row - column| <= off_diagonals``, by rows."""
    import torch

    offsets_w = torch.arange(-off_diagonals, off_diagonals + 1)
    rows_rw = torch.arange(rank)[:, None].expand(-1, len(offsets_w))
    columns_rw = rows_rw + offsets_w
    inside = (columns_rw >= 0) & (columns_rw < rank)
    return torch.stack([rows_rw[inside], columns_rw[inside]])


def _refused(where: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError("E-SVFT-PATTERN", where, problem, f"Nothing was started. {remedy}")
