import math

import numpy as np
import pytest

from descant.evaluators.classification import accuracy, class_score, confusion, macro_f1, matthews


def test_binary_measures_by_hand() -> None:
    # true 1: 3 of 4 found; true 0: 4 of 6 found
    counts = confusion([1] * 4 + [0] * 6, [1, 1, 1, 0, 1, 1, 0, 0, 0, 0], 2)
    assert counts.tolist() == [[4, 2], [1, 3]]
    assert accuracy(counts) == pytest.approx(0.7)
    assert macro_f1(counts) == pytest.approx((2 * 3 / (4 + 5) + 2 * 4 / (6 + 5)) / 2)
    assert matthews(counts) == pytest.approx((3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5))


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_scikit_learn(seed: int) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    gold, called = generator.integers(4, size=(2, 60)).tolist()
    called[:20] = gold[:20]
    counts = confusion(gold, called, 6)  # two classes that no row has
    assert accuracy(counts) == pytest.approx(oracle.accuracy_score(gold, called))
    assert macro_f1(counts) == pytest.approx(oracle.f1_score(gold, called, average="macro"))
    assert matthews(counts) == pytest.approx(oracle.matthews_corrcoef(gold, called))


def test_constant_prediction_has_no_correlation() -> None:
    assert matthews(confusion([0, 1, 1], [1, 1, 1], 2)) == 0
    assert matthews(confusion([0, 1, 1], [0, 1, 1], 2)) == pytest.approx(1)


def test_measures_of_many_matrices_are_those_of_each() -> None:
    counts = np.random.default_rng(1).integers(9, size=(7, 3, 3))
    for measure in (accuracy, macro_f1, matthews):
        assert measure(counts) == pytest.approx([float(measure(one)) for one in counts])


def test_interval_equals_that_of_resampled_rows() -> None:
    generator = np.random.default_rng(3)
    gold, called = generator.integers(3, size=(2, 40))
    called[:25] = gold[:25]
    values = []
    for _ in range(4000):
        rows = generator.integers(40, size=40)
        values.append(macro_f1(confusion(gold[rows].tolist(), called[rows].tolist(), 3)))
    score = class_score(confusion(gold.tolist(), called.tolist(), 3), "macro_f1", seed=1)
    assert score.interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)
    assert score.interval.low < score.value < score.interval.high


@pytest.mark.parametrize(("gold", "called"), [([0], [0, 1]), ([], []), ([0], [2]), ([-1], [0])])
def test_rows_that_do_not_fit_are_refused(gold: list[int], called: list[int]) -> None:
    with pytest.raises(ValueError, match=r"predictions for|a class outside"):
        confusion(gold, called, 2)
