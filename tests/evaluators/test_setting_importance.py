import numpy as np
import pytest
from scipy.stats import spearmanr

from descant.evaluators.setting_importance import SettingImportance, setting_importances
from descant.evaluators.study import Setting, Trial


def trial(setting: Setting, score: float | None) -> Trial:
    return Trial(0, setting, "non-finite" if score is None else "finished", score, (), 1.0, "")


def found(trials: list[Trial], *, higher_is_better: bool = True) -> dict[str, SettingImportance]:
    importances = setting_importances(trials, higher_is_better=higher_is_better, seed=1)
    assert not isinstance(importances, str)
    return {i.setting: i for i in importances}


def test_setting_that_decides_is_shown_and_one_that_does_not_is_not() -> None:
    generator = np.random.default_rng(0)
    rates, other = 10 ** generator.uniform(-5, -2, 12), generator.uniform(size=12)
    made = found(
        [trial({"rate": r, "other": o}, float(np.log(r))) for r, o in zip(rates, other, strict=True)]
    )
    assert made["rate"].share == pytest.approx(1.0)
    assert made["rate"].is_shown
    assert not made["other"].is_shown
    assert made["rate"].by_chance == pytest.approx(2 / 11, abs=0.01)


def test_best_value_in_the_middle_is_found_where_a_correlation_finds_nothing() -> None:
    made = found([trial({"rate": x}, -abs(x - 5)) for x in range(11)])
    assert made["rate"].direction == pytest.approx(0.0, abs=1e-9)
    assert made["rate"].share > 0.8
    assert made["rate"].is_shown


def test_direction_is_spearman_s_correlation_with_the_goodness() -> None:
    values, scores = [3.0, 1.0, 2.0, 7.0, 7.0, 4.0], [0.1, 0.5, 0.4, 0.3, 0.2, 0.6]
    trials = [trial({"x": v}, s) for v, s in zip(values, scores, strict=True)]
    expected = spearmanr(values, scores).statistic
    assert found(trials)["x"].direction == pytest.approx(expected)
    assert found(trials, higher_is_better=False)["x"].direction == pytest.approx(-expected)


def test_share_of_a_choice_is_the_variance_between_its_values() -> None:
    # ranks a: 1 2 3, b: 4 5 6: between 3 * 1.5^2 * 2 = 13.5 of 17.5
    trials = [trial({"kind": "a" if i < 3 else "b"}, float(i)) for i in range(6)]
    made = found(trials)["kind"]
    assert made.share == pytest.approx(13.5 / 17.5)
    assert made.direction is None
    # 2 of the 20 ways to deal three a's
    assert made.p_value == pytest.approx(0.1, abs=0.01)


def test_trial_whose_loss_was_not_finite_counts_as_the_worst() -> None:
    trials = [trial({"rate": x}, None if x > 4 else float(x)) for x in range(6)]
    assert found(trials)["rate"].direction == pytest.approx(spearmanr(range(6), [1, 2, 3, 4, 5, 0]).statistic)


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ([trial({"x": i}, float(i)) for i in range(5)], "too few trials"),
        ([trial({"x": i}, 1.0) for i in range(8)], "same score"),
        ([trial({"x": 1}, float(i)) for i in range(8)], "no setting"),
    ],
)
def test_nothing_to_say_is_said_in_words(trials: list[Trial], words: str) -> None:
    importances = setting_importances(trials, higher_is_better=True, seed=1)
    assert isinstance(importances, str)
    assert words in importances
