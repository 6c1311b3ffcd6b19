"""Shards of vectors in faiss: checks, and scores whose last bit depends on the two vectors alone.

faiss finds candidates in float32, where the last bits of a score depend on the shape of the batch and of the
shard. So every candidate is scored again in float64 in one fixed order, and a result is only given out when
nothing that faiss left out can reach it: float32 inner products of length d are off by at most d 2^-24
|query| |row|.

Legend: q queries, n rows, d dimensions, k results, w candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from descant.core.errors import DataError, DependencyError, IntegrityError, NumericsError
from descant.indexes.base import Content
from descant.indexes.merge import Answer, best

FILE = "vectors.faiss"
_MARGIN = 32  # candidates beyond k: enough to certify nearly every query at the first attempt
_WIDEN = 4
_BLOCK = 1 << 18  # products held at once: 2 MiB, which stays in the cache

Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""(numbers of queries, w) -> float32 [queries, w] approximate scores and int64 rows; best first, then -1."""


class FaissShard:
    """A faiss index whose rows are searched exhaustively; subclasses look at fewer of them (``nearest``)."""

    def __init__(self, index: Any, *, first_row: int = 0) -> None:
        self.index = index
        self.first_row = first_row
        self.num_rows: int = index.ntotal
        self.dim: int | None = index.d
        self.largest_norm = _largest_norm(index)

    def search(self, queries: Content, k: int) -> Answer:
        """As ``Shard.search``; float32 [q, d] queries."""
        vectors_qd = self._checked(queries)
        k = min(k, self.num_rows)
        if k == 0 or not len(vectors_qd):
            shape = (len(vectors_qd), k)
            return Answer(np.empty(shape, np.float32), np.empty(shape, np.int64))
        scores, rows = self.nearest(vectors_qd, k)
        return Answer(scores, np.where(rows < 0, rows, rows + self.first_row))

    def nearest(self, queries_qd: np.ndarray, k: int) -> Answer:
        """The k best rows of this shard, numbered from 0, for checked queries; 1 <= k <= rows."""
        return self.certified(queries_qd, k, lambda which, width: self.index.search(queries_qd[which], width))

    def certified(self, queries_qd: np.ndarray, k: int, find: Find) -> Answer:
        """The k best of the rows that ``find`` looks at, whatever order its approximate scores give them.

        Asks for more candidates until the best that was left out cannot reach the k-th result.
        """
        shape = (len(queries_qd), k)
        answer = Answer(np.empty(shape, np.float32), np.empty(shape, np.int64))
        slack_q = self._error_bound(queries_qd)
        which, width = np.arange(len(queries_qd)), min(k + _MARGIN, self.num_rows)
        while which.size:
            approximate, found = find(which, width)
            scores, rows = best(inner_products(self.index, queries_qd[which], found), found, k)
            reach = (approximate[:, -1] + slack_q[which]).astype(np.float32)
            done = (found[:, -1] < 0) | (reach < scores[:, -1]) | (width == self.num_rows)
            answer.scores[which[done]], answer.rows[which[done]] = scores[done], rows[done]
            which, width = which[~done], min(_WIDEN * width, self.num_rows)
        return answer

    def save(self, folder: Path) -> None:
        """Write the faiss file."""
        load_faiss().write_index(self.index, str(folder / FILE))

    def _error_bound(self, queries_qd: np.ndarray) -> np.ndarray:
        norms_q = np.linalg.norm(queries_qd.astype(np.float64), axis=1)
        bound_q: np.ndarray = queries_qd.shape[1] * 2.0**-24 * 1.01 * self.largest_norm * norms_q
        return bound_q

    def _checked(self, queries: Content) -> np.ndarray:
        vectors_qd = _matrix(queries, "queries")
        if vectors_qd.shape[1] != self.dim:
            raise IntegrityError(
                "E-IDX-DIM",
                "queries",
                f"dimension {vectors_qd.shape[1]}, the index holds dimension {self.dim}",
                "No result was returned. Encode queries and passages with the same encoder.",
            )
        _refuse_rows(~np.isfinite(vectors_qd).all(axis=1), "E-IDX-NAN", "query", "holds NaN or infinity", 0)
        return vectors_qd


def load_faiss() -> Any:
    """The faiss module, on one thread: processes are what runs in parallel here."""
    try:
        import faiss
    except ImportError:
        raise DependencyError(
            "E-DEP-FAISS",
            "faiss",
            "it is not installed",
            "Install one of: pip install 'descant[cpu]', pip install 'descant[gpu]'.",
        ) from None
    faiss.omp_set_num_threads(1)
    return faiss


def read(folder: Path) -> Any:
    """The faiss index in a verified folder."""
    return load_faiss().read_index(str(folder / FILE))


def checked_vectors(content: Content, *, first_row: int) -> np.ndarray:
    """``content`` itself; DataError unless float32 [n, d], NumericsError for rows without direction."""
    vectors_nd = _matrix(content, "vectors")
    _refuse_rows(~np.isfinite(vectors_nd).all(axis=1), "E-IDX-NAN", "row", "holds NaN or infinity", first_row)
    _refuse_rows(
        (vectors_nd == 0).all(axis=1),
        "E-IDX-ZERO",
        "row",
        "is a zero vector without direction",
        first_row,
    )
    return vectors_nd


def inner_products(index: Any, queries_qd: np.ndarray, rows_qw: np.ndarray) -> np.ndarray:
    """float32 [q, w]: each query with its own rows of ``index``, -inf for row -1."""
    num_queries, width = rows_qw.shape
    dim = queries_qd.shape[1]
    scores_qw = np.empty((num_queries, width), np.float32)
    step = max(1, _BLOCK // (width * dim))
    for start in range(0, num_queries, step):
        rows = rows_qw[start : start + step]
        vectors = index.reconstruct_batch(np.maximum(rows, 0).ravel()).reshape(*rows.shape, dim)
        scores = fixed_dot(queries_qd[start : start + step, None, :], vectors)
        scores_qw[start : start + step] = np.where(rows < 0, -np.inf, scores)
    return scores_qw


def fixed_dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Inner products along the last axis (d >= 1) as float32, the same bits for any shape of the other axes.

    A product of two float32 values is exact in float64; they are summed by folding the axis in halves, which
    is plain elementwise addition and so leaves no order for a library or a processor to choose.
    """
    terms = left.astype(np.float64) * right
    width = terms.shape[-1]
    while width > 1:
        half = (width + 1) // 2
        terms[..., : width - half] += terms[..., half:width]
        width = half
    dots: np.ndarray = terms[..., 0].astype(np.float32)
    return dots


def _matrix(content: Content, name: str) -> np.ndarray:
    if not (isinstance(content, np.ndarray) and content.ndim == 2 and content.dtype == np.float32):
        given = (
            f"{content.dtype} {list(content.shape)}"
            if isinstance(content, np.ndarray)
            else type(content).__name__
        )
        raise DataError(
            "E-IDX-SHAPE", name, f"{given}, expected float32 [rows, dim]", "Nothing was indexed or searched."
        )
    return np.ascontiguousarray(content)


def _refuse_rows(bad: np.ndarray, code: str, noun: str, problem: str, first_row: int) -> None:
    if bad.any():
        rows = np.flatnonzero(bad) + first_row
        listed = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise NumericsError(
            code,
            f"{noun} {listed}",
            f"{problem} ({len(rows)} of {len(bad)}), expected finite values",
            "Nothing was indexed or searched. Quarantine these rows where they are encoded.",
        )


def _largest_norm(index: Any) -> float:
    """The length of the longest row, in blocks."""
    step = max(1, _BLOCK // index.d)
    blocks = (index.reconstruct_n(i, min(step, index.ntotal - i)) for i in range(0, index.ntotal, step))
    return max(
        (float(np.linalg.norm(block.astype(np.float64), axis=1).max()) for block in blocks), default=0.0
    )
