from collections.abc import Sequence

import numpy as np
import pytest

from descant.stages.report_plots import Scale, difference_areas, loss_line, scale_around, smoothed, thinned


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0.0, 1.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.012, 0.05, 5, [0.0, 0.02, 0.04]),
        (3.0, 47.0, 4, [20.0, 40.0]),
    ],
)
def test_scale_ticks_are_round_values_within_it(
    low: float, high: float, count: int, ticks: list[float]
) -> None:
    assert Scale(low, high).ticks(count) == ticks


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_scale_around_holds_every_value(values: Sequence[float]) -> None:
    assert all(0 < scale_around(values).percent(value) < 100 for value in values)


def test_smoothed_losses_equal_the_mean_of_each_window() -> None:
    losses = np.random.default_rng(0).random(80).tolist()
    slow = [float(np.mean(losses[max(i - 2, 0) : i + 3])) for i in range(80)]
    assert smoothed(losses) == pytest.approx(slow)


def test_loss_line_runs_from_the_first_step_to_the_last() -> None:
    assert loss_line([4.0, 2.0, 0.0], 5, Scale(0.0, 4.0)) == "0.00,0.00 25.00,50.00 50.00,100.00"


def test_loss_line_of_one_step_is_one_point() -> None:
    assert loss_line([2.0], 1, Scale(0.0, 4.0)) == "0.00,50.00"


def test_difference_areas_are_sorted_and_reach_the_edge() -> None:
    gains, losses = difference_areas([-0.1, 0.2, 0.0, 0.1])
    assert gains == "M0.00 50v-50.00h25.00v50.00zM25.00 50v-25.00h25.00v25.00z"
    assert losses == "M75.00 50v25.00h25.00v-25.00z"


def test_thinned_positions_keep_both_ends_of_a_long_curve() -> None:
    positions = thinned(10_000)
    assert (len(positions), positions[0], positions[-1]) == (400, 0, 9_999)
