"""Intervals and tests for scores that vary with the training seed and with the example.

Every seed is scored on the same examples, so the two are crossed (Owen, Annals of Applied Statistics 2007). Examples
are resampled. A study has too few seeds to resample: the range of three values misses their mean one time in four. So
the part of the seeds is drawn from Student's t, scaled by their variance, with Welch's degrees of freedom where two
methods differ; what examples put into that variance (analysis of variance) is left out of the examples' part. In
simulation, 3 seeds, seed effects from none to ten times the examples' standard error: 94 % to 98 % of the 95 %
intervals hold the truth.

Legend: s seeds, n examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from descant.core.seeds import seed_for
from descant.evaluators.statistics import (
    Interval,
    bootstrap_means,
    percentile_interval,
    randomisation_p_value,
)


@dataclass(frozen=True)
class TwoLevelDifference:
    """How a method's scores differ from another's on the same examples."""

    mean: float
    """The mean difference; positive when the method is higher."""
    interval: Interval
    """Of the mean difference, over other examples and other seeds."""
    p_value: float
    """Two-sided: the larger of the paired randomisation test over examples and of the test that the interval makes.

    The first assumes nothing of the scores' distribution but knows one set of seeds only, so that enough examples
    would tell any two seeds of one method apart; the second does not.
    """


def two_level_interval(scores_sn: np.ndarray, *, seed: int) -> Interval:
    """The 95 % interval of the mean of ``scores_sn``, float64 [seeds, examples].

    Of one seed it speaks of other examples only, and equals ``bootstrap_interval``.
    """
    return percentile_interval(_draws((scores_sn,), scores_sn.mean(axis=0), seed=seed))


def two_level_difference(scores_sn: np.ndarray, others_sn: np.ndarray, *, seed: int) -> TwoLevelDifference:
    """Compare two methods, float64 [seeds, examples] each, with examples in the same order; seeds are unrelated.

    A method of one seed adds nothing for seeds to the interval.
    """
    differences_n = scores_sn.mean(axis=0) - others_sn.mean(axis=0)
    draws = _draws((scores_sn, others_sn), differences_n, seed=seed)
    beyond = 1 + min(np.sum(draws <= 0), np.sum(draws >= 0))
    return TwoLevelDifference(
        mean=float(differences_n.mean()),
        interval=percentile_interval(draws),
        p_value=max(randomisation_p_value(differences_n, seed=seed), min(1.0, 2 * beyond / (len(draws) + 1))),
    )


def _draws(groups: Sequence[np.ndarray], values_n: np.ndarray, *, seed: int) -> np.ndarray:
    """Means that other examples and other seeds could have given: float64 [resamples]."""
    means = bootstrap_means(values_n, seed=seed)
    parts = [_seed_part(scores_sn) for scores_sn in groups if len(scores_sn) > 1 and scores_sn.shape[1] > 1]
    between = sum(variance for variance, _, _ in parts)
    if between == 0:
        return means
    freedom = between**2 / sum(variance**2 / (num - 1) for variance, _, num in parts)
    generator = np.random.default_rng(seed_for(seed, "seeds"))
    # what examples put into the variance between seeds is in both parts: it is taken out of the examples'
    of_examples = values_n.var(ddof=1) / len(values_n)
    kept = max(0.0, 1 - sum(residual for _, residual, _ in parts) / of_examples) if of_examples else 0.0
    spread = np.sqrt(kept) * (means - values_n.mean())
    drawn: np.ndarray = (
        values_n.mean() + spread + np.sqrt(between) * generator.standard_t(freedom, len(means))
    )
    return drawn


def _seed_part(scores_sn: np.ndarray) -> tuple[float, float, int]:
    """The variance of the mean as the seeds show it, what examples alone put into that, and the number of seeds."""
    num_seeds, num_examples = scores_sn.shape
    seed_means_s, example_means_n = scores_sn.mean(axis=1), scores_sn.mean(axis=0)
    residuals_sn = scores_sn - seed_means_s[:, None] - example_means_n + scores_sn.mean()
    freedom = (num_seeds - 1) * (num_examples - 1)
    residual = float((residuals_sn**2).sum()) / freedom / (num_seeds * num_examples)
    return float(seed_means_s.var(ddof=1)) / num_seeds, residual, num_seeds
