"""The one order of results, higher score first, then lower row: for score matrices and answers of shards.

Legend: q queries, n rows, k results.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descant.core.errors import ConfigError


class Answer(NamedTuple):
    """Results of q queries, best first, ties by lower row.

    ``scores`` float32 [q, k]; ``rows`` int64 [q, k], global row numbers. Only the answer of a single shard
    may hold places without a result (row -1, score -inf), and then at the end of a line.
    """

    scores: np.ndarray
    rows: np.ndarray


def best(scores_qn: np.ndarray, rows_qn: np.ndarray, k: int) -> Answer:
    """The first k (or all, if fewer) of given candidates, in the one order; row -1 must score -inf."""
    order = np.lexsort((rows_qn, -scores_qn), axis=-1)[:, :k]
    return Answer(np.take_along_axis(scores_qn, order, 1), np.take_along_axis(rows_qn, order, 1))


def top_k(scores_qn: np.ndarray, k: int) -> Answer:
    """The first k of n rows for each line of a float32 score matrix without NaN, in the one order; k <= n.

    A partition keeps no order among equals, so it only gives the k-th score; every row that reaches it is
    sorted.
    """
    num_queries, n = scores_qn.shape
    if k == 0:
        return Answer(np.empty((num_queries, 0), np.float32), np.empty((num_queries, 0), np.int64))
    last_q = np.partition(scores_qn, n - k, axis=1)[:, n - k]
    lines, rows = np.nonzero(scores_qn >= last_q[:, None])
    scores = scores_qn[lines, rows]
    order = np.lexsort((rows, -scores, lines))
    starts = np.searchsorted(lines, np.arange(num_queries))
    first_qk = order[starts[:, None] + np.arange(k)]
    return Answer(scores[first_qk], rows[first_qk])


def merge(answers: Sequence[Answer], k: int) -> Answer:
    """The k best of all shards' answers to the same queries: exactly what one shard of all rows would answer.

    Each answer must hold the shard's best k, or all it has. Raises ConfigError when the shards together hold
    fewer than k rows (``E-IDX-K``), or found fewer for some query (``E-IDX-SHORT``); -1 never leaves this
    function.
    """
    scores = np.concatenate([answer.scores for answer in answers], axis=1)
    rows = np.concatenate([answer.rows for answer in answers], axis=1)
    check_k(k, scores.shape[1])
    merged = best(scores, rows, k)
    short = np.flatnonzero(merged.rows[:, -1] < 0)
    if short.size:
        found = int((merged.rows[short[0]] >= 0).sum())
        raise ConfigError(
            "E-IDX-SHORT",
            f"query {short[0]}",
            f"the lists probed for it hold {found} rows, k = {k} were asked ({short.size} queries are short)",
            "No result was returned. Raise nprobe, or lower k.",
        )
    return merged


def check_k(k: int, num_rows: int) -> None:
    """Raise ConfigError (``E-IDX-K``) unless 1 <= k <= num_rows."""
    if not 1 <= k <= num_rows:
        raise ConfigError(
            "E-IDX-K",
            f"k = {k}",
            f"the index holds {num_rows} rows, expected 1 <= k <= {num_rows}",
            "No result was returned. Lower k, or check that the whole corpus was indexed.",
        )
