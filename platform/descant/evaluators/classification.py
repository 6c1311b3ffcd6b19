"""Measures of classification, from the confusion matrix.

Accuracy, macro-averaged F1, and the Matthews correlation (1975) in its form for many classes, R_K (Gorodkin
2004). Legend: k classes, s resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from descant.core.seeds import seed_for
from descant.evaluators.statistics import ALPHA, NUM_RESAMPLES, Interval

ClassMeasure = Literal["accuracy", "macro_f1", "matthews"]


@dataclass(frozen=True)
class ClassScore:
    """A measure over all rows with its interval."""

    value: float
    interval: Interval


def confusion(gold: Sequence[int], predicted: Sequence[int], num_classes: int) -> np.ndarray:
    """int64 [k, k]: how often each true class (rows) was called each class (columns).

    Raises ValueError for different lengths, no rows, and classes outside 0 ... k - 1.
    """
    true_n, called_n = np.asarray(gold, np.int64), np.asarray(predicted, np.int64)
    if true_n.shape != called_n.shape or not len(true_n):
        raise ValueError(f"{len(called_n)} predictions for {len(true_n)} rows")
    if min(true_n.min(), called_n.min()) < 0 or max(true_n.max(), called_n.max()) >= num_classes:
        raise ValueError(f"a class outside 0 ... {num_classes - 1}")
    counts = np.bincount(true_n * num_classes + called_n, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_score(counts_kk: np.ndarray, measure: ClassMeasure, *, seed: int) -> ClassScore:
    """``measure`` of a confusion matrix with the percentile bootstrap interval over rows.

    Drawing rows with replacement is drawing the cells of the matrix from a multinomial distribution.
    """
    compute = {"accuracy": accuracy, "macro_f1": macro_f1, "matthews": matthews}[measure]
    total = int(counts_kk.sum())
    generator = np.random.default_rng(seed_for(seed, "bootstrap", measure))
    drawn = generator.multinomial(total, counts_kk.reshape(-1) / total, size=NUM_RESAMPLES)
    values_s = compute(drawn.reshape(NUM_RESAMPLES, *counts_kk.shape))
    low, high = np.quantile(values_s, [ALPHA / 2, 1 - ALPHA / 2])
    return ClassScore(float(compute(counts_kk)), Interval(float(low), float(high)))


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of right rows, float64 [...], of confusion matrices [..., k, k]."""
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 of the classes that stand in the rows or the predictions, float64 [...], of [..., k, k]."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    f1 = 2 * hits / np.maximum(either, 1)
    return f1.sum(axis=-1) / (either > 0).sum(axis=-1)


def matthews(counts: np.ndarray) -> np.ndarray:
    """Correlation of true and predicted classes in [-1, 1], float64 [...], of [..., k, k]; 0 where one is constant."""
    true, called = counts.sum(axis=-1).astype(np.float64), counts.sum(axis=-2).astype(np.float64)
    total = true.sum(axis=-1)
    covariance = np.trace(counts, axis1=-2, axis2=-1) * total - (true * called).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (called**2).sum(axis=-1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)
