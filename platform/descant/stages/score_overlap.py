"""Overlap of generated texts with their references: counts of each row, published once, and what the corpus scores."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table
from descant.data.pieces import Pieces
from descant.evaluators.overlap import (
    Formula,
    bleu,
    bleu_counts,
    chrf,
    chrf_counts,
    overlap_score,
    sentence_bleu,
)
from descant.evaluators.statistics import Interval
from descant.stages.base import StageContext

OverlapMeasure = Literal["spbleu", "chrf"]
OVERLAP: tuple[OverlapMeasure, ...] = get_args(OverlapMeasure)
COUNTED = pa.schema([("id", pa.string()), ("score", pa.float64()), ("counts", pa.list_(pa.int64()))])
"""A row's counts (see ``evaluators.overlap``), and its score by itself."""

_FORMULAS: dict[OverlapMeasure, tuple[Formula, Formula]] = {
    "spbleu": (bleu, sentence_bleu),
    "chrf": (chrf, chrf),
}
"""Of a corpus, and of a sentence."""


def publish_overlap(
    context: StageContext, rows: pa.Table, measure: OverlapMeasure, pieces: Pieces | None, *, seed: int
) -> tuple[float, Interval]:
    """Publish the part called ``measure``, a row of ``COUNTED`` for each of ``rows``; the corpus' score."""
    texts = [text or "" for text in rows.column("prediction").to_pylist()]
    counts_nk = _counts(measure, texts, rows.column("gold").to_pylist(), pieces)
    corpus, sentence = _FORMULAS[measure]
    columns = {
        "id": rows.column("id").to_pylist(),
        "score": sentence(counts_nk).tolist(),
        "counts": counts_nk.tolist(),
    }
    publish_table(context.folder, measure, pa.table(columns, schema=COUNTED))
    return overlap_score(counts_nk, corpus, seed=seed)


def overlap_counts(evaluation: Artifact, measure: OverlapMeasure) -> tuple[list[str], np.ndarray]:
    """Ids and counts, int64 [rows, counts], of an ``evaluate_task`` result: what ``overlap_draws`` resamples."""
    table = read_table(evaluation.path(measure))
    return table.column("id").to_pylist(), np.array(table.column("counts").to_pylist(), np.int64)


def _counts(
    measure: OverlapMeasure, texts: Sequence[str], references: Sequence[str], pieces: Pieces | None
) -> np.ndarray:
    """int64 [rows, counts]."""
    pairs = zip(texts, references, strict=True)
    if measure == "chrf":
        return np.array([chrf_counts(text, reference) for text, reference in pairs])
    assert pieces is not None
    cut = pieces.cut([*texts, *references])
    return np.array(
        [bleu_counts(one, other) for one, other in zip(cut[: len(texts)], cut[len(texts) :], strict=True)]
    )
