"""Several short rows in one sequence, none of which sees another.

Positions start at 0 with each row, and no attention mask is given: transformers (5, ``masking_utils``) then lets a
token see those of its own row alone. Padding has position 0, so that every padded place is a row of its own.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from descant.core.errors import ConfigError

Item = TypeVar("Item")


def pack(items: Sequence[Item], lengths: Sequence[int], capacity: int) -> list[list[Item]]:
    """``items`` in bins of ``capacity``: the longest first, each in the first bin that has room."""
    bins: list[list[Item]] = []
    room: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: -lengths[i]):
        place = next((b for b, left in enumerate(room) if left >= lengths[i]), len(bins))
        if place == len(bins):
            bins.append([])
            room.append(capacity)
        bins[place].append(items[i])
        room[place] -= lengths[i]
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
