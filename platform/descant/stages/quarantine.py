"""Working around single rows that break a batch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from descant.core.errors import DescantError, NumericsError
from descant.core.records import Rejected
from descant.data.rejects import num_allowed
from descant.models.encode import vector_faults

Row = TypeVar("Row")


def encode_around_faults(
    encode: Callable[[Sequence[Row]], np.ndarray],
    rows: Sequence[Row],
    id_of: Callable[[Row], str],
    where: str,
) -> tuple[list[str], np.ndarray, list[Rejected]]:
    """Ids and float32 [kept, dim] vectors of the rows that can be encoded, and the others with their reasons.

    A row whose encoding raises is found by bisection, so it costs its batch a few repetitions and nothing else; rows
    whose vector is not finite or has no length are left out as ``nonfinite`` and ``zero_norm``. Where no row
    can be encoded, ``dim`` is 1.
    """
    good, failed = _bisect(encode, rows)
    kept, rejected = [], [Rejected(id_of(row), where, reason) for row, reason in failed]
    vectors = np.concatenate([part for _, part in good]) if good else np.zeros((0, 1), np.float32)
    encoded = [row for part, _ in good for row in part]
    faults = vector_faults(vectors) if encoded else {}
    for i, row in enumerate(encoded):
        if i in faults:
            rejected.append(Rejected(id_of(row), where, faults[i]))
        else:
            kept.append(i)
    return [id_of(encoded[i]) for i in kept], vectors[kept], rejected


def refuse_many_faults(rejected: Sequence[Rejected], num_rows: int, where: str) -> None:
    """Raise NumericsError when more rows were left out than a corpus may lose."""
    if len(rejected) > num_allowed(num_rows):
        first = "; ".join(f"{row.id} {row.reason}" for row in rejected[:5])
        raise NumericsError(
            "E-EMB-FAULTS",
            where,
            f"{len(rejected)} of {num_rows} rows gave no usable vector, at most {num_allowed(num_rows)} may: {first}",
            "No index was built from them. Check the model's weights and its precision.",
        )


def _bisect(
    encode: Callable[[Sequence[Row]], np.ndarray], rows: Sequence[Row]
) -> tuple[list[tuple[Sequence[Row], np.ndarray]], list[tuple[Row, str]]]:
    if not rows:
        return [], []
    try:
        return [(rows, encode(rows))], []
    except DescantError:
        raise
    except Exception as error:  # whatever a tokenizer or model raises on one row must not cost the others
        if len(rows) == 1:
            return [], [(rows[0], f"{type(error).__name__}: {error}"[:200])]
    middle = len(rows) // 2
    left, right = _bisect(encode, rows[:middle]), _bisect(encode, rows[middle:])
    return left[0] + right[0], left[1] + right[1]
