"""Intervals and paired tests over per-query scores, by resampling queries.

Percentile bootstrap (Efron and Tibshirani 1993, chapter 13), paired randomisation test (Smucker et al., CIKM
2007) and Holm's correction (1979). They speak of other queries of the same kind, not of other training seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from descant.core.errors import NumericsError
from descant.core.seeds import seed_for

ALPHA = 0.05
"""A p-value below it counts as shown; every interval covers ``1 - ALPHA``."""
NUM_RESAMPLES = 10_000

Verdict = Literal["better", "worse", "no difference shown"]


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How a system's scores differ from a baseline's on the same queries."""

    mean: float
    """The mean difference; positive when the system is higher."""
    interval: Interval
    """Of the mean difference."""
    p_value: float
    """Two-sided: how often chance alone gives a mean difference at least as large."""
    wins: int
    """Queries on which the system is higher."""
    ties: int
    """Queries with equal scores."""
    losses: int
    """Queries on which the baseline is higher."""

    @property
    def verdict(self) -> Verdict:
        """What the test shows; the interval is information and does not decide."""
        if self.p_value >= ALPHA:
            return "no difference shown"
        return "better" if self.mean > 0 else "worse"

    @property
    def better(self) -> bool:
        """Whether the system is shown to be higher."""
        return self.verdict == "better"

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.verdict}: {self.mean:+.3f} [{low:+.3f}, {high:+.3f}], {p_text(self.p_value)}"


def bootstrap_interval(values: Sequence[float] | np.ndarray, *, seed: int) -> Interval:
    """The percentile bootstrap interval of the mean of ``values``, float [queries].

    Raises NumericsError for a value that is not finite, ValueError for no values.
    """
    return percentile_interval(bootstrap_means(values, seed=seed))


def bootstrap_means(values: Sequence[float] | np.ndarray, *, seed: int) -> np.ndarray:
    """Means of ``values``, float [queries], resampled with replacement: float64 [``NUM_RESAMPLES``].

    Raises as ``bootstrap_interval`` does.
    """
    observed = _finite(values)
    generator = np.random.default_rng(seed_for(seed, "bootstrap"))
    n = len(observed)
    means = [
        observed[generator.integers(n, size=(num, n), dtype=np.int32)].mean(axis=1) for num in _chunks(n)
    ]
    return np.concatenate(means)


def percentile_interval(draws: np.ndarray) -> Interval:
    """What holds the middle 95 % of ``draws``, float [draws]."""
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(low), float(high))


def randomisation_p_value(differences: Sequence[float] | np.ndarray, *, seed: int) -> float:
    """The two-sided p-value of paired ``differences``, float [queries], with signs flipped at random.

    The observed signs count as one of the samples, so it is never 0. Raises as ``bootstrap_interval`` does.
    """
    observed = _finite(differences)
    generator = np.random.default_rng(seed_for(seed, "randomisation"))
    n = len(observed)
    # sums of the same numbers in another order differ in their last bits; they are ties all the same
    reached = abs(observed.sum()) - 1e-12 * np.abs(observed).sum()
    num_extreme = 0
    for num in _chunks(n):
        random_bytes = generator.integers(256, size=(num, (n + 7) // 8), dtype=np.uint8)
        is_flipped = np.unpackbits(random_bytes, axis=1, count=n)
        sums = observed.sum() - 2 * (is_flipped @ observed)
        num_extreme += int(np.sum(np.abs(sums) >= reached))
    return (num_extreme + 1) / (NUM_RESAMPLES + 1)


def paired_test(
    scores: Sequence[float] | np.ndarray, baseline: Sequence[float] | np.ndarray, *, seed: int = 0
) -> PairedDifference:
    """Compare a system with a baseline, both float [queries] in the same order of queries.

    Raises ValueError for different lengths or no queries, NumericsError for a score that is not finite.
    """
    if len(scores) != len(baseline):
        raise ValueError(f"{len(scores)} and {len(baseline)} scores: a paired test needs the same queries")
    differences = _finite(scores) - _finite(baseline)
    return PairedDifference(
        mean=float(differences.mean()),
        interval=bootstrap_interval(differences, seed=seed),
        p_value=randomisation_p_value(differences, seed=seed),
        wins=int(np.sum(differences > 0)),
        ties=int(np.sum(differences == 0)),
        losses=int(np.sum(differences < 0)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being ``len(p_values)`` tests at once, in the order given."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def p_text(p_value: float) -> str:
    """``p < 0.001``, ``p = 0.012`` or ``p = 0.31``."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def _chunks(n: int) -> Iterator[int]:
    """How many resamples of ``n`` values to draw at a time: about a million values."""
    size = max(1, (1 << 20) // n)
    for start in range(0, NUM_RESAMPLES, size):
        yield min(size, NUM_RESAMPLES - start)


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"scores of shape {array.shape}, expected at least one score per query in one row")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise NumericsError(
            "E-EVAL-NONFINITE",
            f"score {bad[0]}",
            f"is {array[bad[0]]}, expected a finite number",
            "Nothing was averaged. Score the rankings again.",
        )
    return array
