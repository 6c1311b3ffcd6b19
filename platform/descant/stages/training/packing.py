"""Several short rows in one sequence, none of which sees another.

Positions start at 0 with each row, and no attention mask is given: transformers (5, ``masking_utils``) then lets a
token see those of its own row alone. Padding has position 0, so that every padded place is a row of its own.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from descant.core.errors import ConfigError

Item = TypeVar("Item")


def pack(items: Sequence[Item], lengths: Sequence[int], capacity: int) -> list[list[Item]]:
    """``items`` in bins of ``capacity``: the longest first, each in the fullest bin that has room for it."""
    bins: list[list[Item]] = []
    rooms: list[tuple[int, int]] = []  # what is left in each bin, ascending
    for i in sorted(range(len(items)), key=lambda i: -lengths[i]):
        place = bisect_left(rooms, (lengths[i], -1))
        if place == len(rooms):
            left, chosen = capacity, len(bins)
            bins.append([])
        else:
            left, chosen = rooms.pop(place)
        bins[chosen].append(items[i])
        insort(rooms, (left - lengths[i], chosen))
    return bins


def check_kept_apart(model: Any) -> None:
    """Raise ConfigError where rows in one sequence see each other in this architecture: asked by trying."""
    first, other, second = [1, 2, 3, 4], [1, 5, 6, 4], [1, 3, 5]
    rows = [[*first, *second], [*other, *second]]
    positions = [[*range(4), *range(3)]] * 2
    device = next(model.parameters()).device
    with torch.no_grad():
        packed = model(
            input_ids=torch.tensor(rows, device=device), position_ids=torch.tensor(positions, device=device)
        ).logits[:, 4:]
        alone = model(input_ids=torch.tensor([second], device=device)).logits
    if not torch.allclose(packed, alone.expand_as(packed), rtol=1e-2, atol=1e-3):
        raise ConfigError(
            "E-TRN-PACKED",
            type(model).__name__,
            "rows that are packed into one sequence see each other in this architecture",
            "Nothing was started. Set packed: false.",
        )
