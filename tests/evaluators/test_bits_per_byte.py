import math

import numpy as np
import pytest

from descant.evaluators.bits_per_byte import bits_per_byte_difference, bits_per_byte_score


def test_long_texts_count_by_their_bytes() -> None:
    value, (low, high) = bits_per_byte_score([4 * math.log(2), 30 * math.log(2)], [4, 10], seed=1)
    assert value == pytest.approx(34 / 14)
    assert (low, high) == pytest.approx((1, 3))


def test_interval_equals_that_of_resampled_texts() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 90, size=30)
    bits = sizes * generator.uniform(0.5, 3, size=30)
    rows = generator.integers(30, size=(4000, 30))
    expected = np.quantile(bits[rows].sum(1) / sizes[rows].sum(1), [0.025, 0.975])
    _, interval = bits_per_byte_score((bits * math.log(2)).tolist(), sizes.tolist(), seed=2)
    assert interval == pytest.approx(expected, abs=0.03)


def test_texts_without_a_byte_are_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        bits_per_byte_score([0.0], [0], seed=1)


def test_difference_is_that_of_the_scores_with_an_interval_of_its_own() -> None:
    generator = np.random.default_rng(5)
    num_bytes = generator.integers(50, 500, 40).tolist()
    hard = generator.uniform(0.5, 2.0, 40)  # a text is hard for both
    one, two = ((hard + shift) * num_bytes for shift in (0.0, 0.05))
    value, (low, high) = bits_per_byte_difference(two.tolist(), one.tolist(), num_bytes, seed=1)
    assert value == pytest.approx(
        bits_per_byte_score(two.tolist(), num_bytes, seed=1)[0]
        - bits_per_byte_score(one.tolist(), num_bytes, seed=1)[0]
    )
    assert low == pytest.approx(0.05 / np.log(2))
    assert high == pytest.approx(0.05 / np.log(2))
    low, high = bits_per_byte_score(one.tolist(), num_bytes, seed=1)[1]
    assert high - low > 0.1
