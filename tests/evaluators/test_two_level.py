import numpy as np
import pytest

from descant.evaluators.statistics import bootstrap_interval, randomisation_p_value
from descant.evaluators.two_level import two_level_difference, two_level_interval

# T distribution, 97.5 % quantiles from the tables
T_WITH_2, T_WITH_4 = 4.303, 2.776


def scores(
    generator: np.random.Generator, *, num_seeds: int, seed_effect: float, num_examples: int = 50
) -> np.ndarray:
    """Mean 0; an example's effect and noise of 1 each, a seed's effect in standard errors of the examples."""
    seeds = generator.normal(0, seed_effect / num_examples**0.5, (num_seeds, 1))
    return seeds + generator.normal(0, 1, num_examples) + generator.normal(0, 1, (num_seeds, num_examples))


@pytest.mark.parametrize(
    ("num_seeds", "seed_effect", "num_studies"),
    [
        (3, 1.0, 250),
        (3, 3.0, 250),
        *(
            pytest.param(n, e, 1500, marks=pytest.mark.slow)
            for n in (3, 5)
            for e in (0.0, 0.3, 1.0, 3.0, 10.0)
        ),
    ],
)
def test_interval_covers_the_truth_as_often_as_it_promises(
    num_seeds: int, seed_effect: float, num_studies: int
) -> None:
    generator, covered = np.random.default_rng(5), 0
    for _ in range(num_studies):
        made = scores(generator, num_seeds=num_seeds, seed_effect=seed_effect)
        low, high = two_level_interval(made, seed=1)
        covered += low <= 0 <= high
    assert 0.92 <= covered / num_studies <= 0.98


@pytest.mark.parametrize(
    ("effects", "num_studies"),
    [
        ((1.0, 1.0), 250),
        *(pytest.param(e, 1500, marks=pytest.mark.slow) for e in ((0.0, 0.0), (3.0, 3.0), (0.1, 3.0))),
    ],
)
def test_interval_of_a_difference_covers_the_truth_as_often_as_it_promises(
    effects: tuple[float, float], num_studies: int
) -> None:
    generator, covered = np.random.default_rng(6), 0
    for _ in range(num_studies):
        one, other = (scores(generator, num_seeds=3, seed_effect=effect) for effect in effects)
        low, high = two_level_difference(one, other, seed=1).interval
        covered += low <= 0 <= high
    assert 0.92 <= covered / num_studies <= 0.98


def test_interval_of_one_seed_is_the_bootstrap_over_examples() -> None:
    made = scores(np.random.default_rng(0), num_seeds=1, seed_effect=0.0)
    assert two_level_interval(made, seed=3) == bootstrap_interval(made[0], seed=3)


def test_interval_of_seeds_that_differ_alike_on_all_examples_is_the_t_interval_of_their_means() -> None:
    made = np.array([[0.4], [0.5], [0.6]]) + np.zeros((3, 20))
    low, high = two_level_interval(made, seed=3)
    half = T_WITH_2 * 0.1 / 3**0.5
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), rel=0.05)


def test_difference_of_methods_with_equally_varied_seeds_has_the_degrees_of_freedom_of_both() -> None:
    made = np.array([[0.4], [0.5], [0.6]]) + np.zeros((3, 20))
    found = two_level_difference(made + 0.2, made, seed=3)
    half = T_WITH_4 * 0.1 * (2 / 3) ** 0.5
    assert found.mean == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.2 - half, 0.2 + half), abs=0.05 * half)


def test_difference_that_seeds_explain_is_not_significant_however_many_examples_agree() -> None:
    one = np.array([[0.4], [0.5], [0.6]]) + np.zeros((3, 500))
    found = two_level_difference(one + 0.02, one, seed=3)
    assert randomisation_p_value(np.full(500, 0.02), seed=3) < 0.001
    assert found.p_value > 0.5


def test_difference_without_seed_variance_has_the_randomisation_test_s_p_value_at_least() -> None:
    generator = np.random.default_rng(4)
    one = np.tile(generator.normal(0, 1, 60), (3, 1))
    other = np.tile(generator.normal(0.3, 1, 60), (3, 1))
    found = two_level_difference(one, other, seed=2)
    exact = randomisation_p_value((one - other)[0], seed=2)
    assert exact <= found.p_value < exact + 0.02


def test_difference_of_a_method_and_itself_is_zero() -> None:
    made = scores(np.random.default_rng(0), num_seeds=1, seed_effect=0.0)
    found = two_level_difference(made, made, seed=3)
    assert (found.mean, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)
