import itertools
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import NumericsError
from descant.evaluators.statistics import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    holm,
    p_text,
    paired_test,
    randomisation_p_value,
)


def scores(seed: int, n: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.6, 0.4, n)


def test_bootstrap_interval_equals_scipy_percentile_bootstrap() -> None:
    values = scores(3)
    reference = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    # the Monte Carlo error of a 2.5 % quantile from 10,000 samples is about 2.7 % of the standard error
    allowed = 5 * 0.027 * values.std() / np.sqrt(len(values))
    assert bootstrap_interval(values, seed=1) == pytest.approx((reference.low, reference.high), abs=allowed)


def test_bootstrap_interval_covers_the_true_mean_in_about_95_percent_of_samples() -> None:
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(400):
        low, high = bootstrap_interval(generator.beta(2, 3, 50), seed=trial)
        covered += low <= 0.4 <= high
    # percentile intervals are slightly short at n = 50 (94.5 %); three standard errors are 3.3 points
    assert covered / 400 == pytest.approx(0.945, abs=0.033)


def test_bootstrap_interval_is_a_function_of_values_and_seed() -> None:
    values = scores(1)
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values.tolist(), seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)


def test_bootstrap_interval_of_1200_queries_takes_well_under_a_second() -> None:
    started = time.process_time()
    bootstrap_interval(scores(0, 1200), seed=0)
    assert time.process_time() - started < 1


def test_bootstrap_interval_of_equal_values_is_that_value() -> None:
    assert bootstrap_interval([0.25] * 7, seed=0) == (0.25, 0.25)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_bootstrap_interval_lies_within_the_range_of_the_values(values: list[float]) -> None:
    low, high = bootstrap_interval(values, seed=0)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_randomisation_p_value_equals_all_sign_assignments(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.3, 1, 12)
    all_signs = np.array(list(itertools.product((-1, 1), repeat=12)))
    exact = np.mean(np.abs(all_signs @ differences) >= abs(differences.sum()) - 1e-9)
    # three standard errors of a proportion from 10,000 samples, at most 0.015
    assert randomisation_p_value(differences, seed=seed) == pytest.approx(exact, abs=0.015)


def test_randomisation_p_value_equals_scipy_permutation_test() -> None:
    differences = scores(4) - scores(5) + 0.08
    reference = scipy.stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).pvalue
    assert randomisation_p_value(differences, seed=0) == pytest.approx(reference, abs=0.015)


def test_randomisation_p_value_without_a_difference_is_below_5_percent_in_5_percent_of_samples() -> None:
    generator = np.random.default_rng(7)
    false_alarms = sum(randomisation_p_value(generator.normal(0, 1, 40), seed=i) < 0.05 for i in range(400))
    # three standard errors of a proportion of 0.05 in 400 trials
    assert false_alarms / 400 == pytest.approx(0.05, abs=0.033)


def test_randomisation_p_value_of_equal_size_differences_counts_rounded_sums_as_ties() -> None:
    # 0.1 + 0.1 + 0.1 rounds differently from 0.3; only 2 of 8 sign assignments reach the observed sum
    assert randomisation_p_value([0.1, 0.1, 0.1], seed=0) == pytest.approx(0.25, abs=0.015)


def test_randomisation_p_value_is_never_zero() -> None:
    assert randomisation_p_value(np.ones(500), seed=0) == pytest.approx(1 / 10_001)


def test_paired_test_of_equal_scores_shows_no_difference() -> None:
    result = paired_test(scores(1), scores(1))
    assert (result.mean, result.p_value, result.ties) == (0.0, 1.0, 60)
    assert result.verdict == "no difference shown"
    assert not result.better


def test_paired_test_of_exchanged_systems_mirrors_the_difference() -> None:
    there, back = paired_test(scores(1), scores(2)), paired_test(scores(2), scores(1))
    assert (there.mean, there.p_value) == pytest.approx((-back.mean, back.p_value))
    assert (there.wins, there.losses) == (back.losses, back.wins)


def test_paired_test_counts_wins_ties_and_losses() -> None:
    result = paired_test([1.0, 0.5, 0.0, 1.0], [0.5, 0.5, 0.5, 0.0])
    assert (result.wins, result.ties, result.losses) == (2, 1, 1)
    assert result.mean == 0.25


def test_paired_test_of_a_shifted_system_is_better_and_its_interval_holds_the_shift() -> None:
    result = paired_test(scores(1) + 0.1 + 0.01 * scores(2), scores(1))
    assert result.better
    assert result.interval.low < 0.1 + 0.01 * scores(2).mean() < result.interval.high


def test_paired_test_of_different_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 scores"):
        paired_test([1.0, 0.0], [1.0])


def test_paired_test_of_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(NumericsError, match="score 1: is nan"):
        paired_test([1.0, float("nan")], [1.0, 0.0])


def test_bootstrap_interval_of_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one score"):
        bootstrap_interval([], seed=0)


@pytest.mark.parametrize(
    ("given_p", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_holm_equals_the_hand_computation(given_p: list[float], expected: list[float]) -> None:
    assert holm(given_p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mean", "p_value", "verdict"),
    [
        (0.042, 0.0001, "better"),
        (-0.042, 0.0499, "worse"),
        (0.042, 0.05, "no difference shown"),
        (-0.042, 0.31, "no difference shown"),
    ],
)
def test_verdict_follows_the_p_value_and_the_sign(mean: float, p_value: float, verdict: str) -> None:
    difference = PairedDifference(mean, Interval(-1, 1), p_value, 1, 1, 1)
    assert difference.verdict == verdict
    assert difference.better == (verdict == "better")


def test_difference_as_text_holds_verdict_interval_and_p_value() -> None:
    text = str(PairedDifference(0.0421, Interval(-0.003, 0.0868), 0.31, 3, 1, 2))
    assert text == "no difference shown: +0.042 [-0.003, +0.087], p = 0.31"


def test_p_text_never_claims_zero() -> None:
    assert p_text(1e-4) == "p < 0.001"
