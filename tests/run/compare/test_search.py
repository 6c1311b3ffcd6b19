"""Search spaces and the settings drawn from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from descant.run.compare.search import ask
from descant.run.compare.space import Axis, Setting, corners, draw, grid

SPACE = {
    "learning_rate": Axis(log_uniform=(1e-4, 1e-1)),
    "method.r": Axis(choice=(4, 16)),
    "share": Axis(uniform=(0.25, 0.75)),
}


@dataclass(frozen=True)
class Ended:
    setting: Setting
    score: float | None
    status: str = "finished"


def asked(search: Any, number: int, tried: list[Ended], *, seed: int = 1, higher: bool = True) -> Setting:
    return ask(search, SPACE, number, tried, seed=seed, higher_is_better=higher)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"choice": (1, 2), "uniform": (0.0, 1.0)},
        {"choice": ()},
        {"uniform": (1.0, 1.0)},
        {"log_uniform": (0.0, 1.0)},
    ],
)
def test_an_axis_is_named_in_exactly_one_way_that_holds_a_value(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Axis.model_validate(values)


def test_draws_lie_inside_and_all_orders_of_magnitude_are_alike() -> None:
    generator = np.random.default_rng(0)
    settings = [draw(SPACE, generator) for _ in range(3000)]
    rates = np.array([float(str(setting["learning_rate"])) for setting in settings])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-1
    counts = np.histogram(np.log10(rates), bins=[-4, -3, -2, -1])[0]
    assert counts == pytest.approx([1000] * 3, abs=120)
    assert {setting["method.r"] for setting in settings} == {4, 16}
    assert all(0.25 <= float(str(setting["share"])) <= 0.75 for setting in settings)


def test_random_settings_depend_on_seed_and_number_alone() -> None:
    history = [Ended({"learning_rate": 0.1, "method.r": 4, "share": 0.5}, 1.0)]
    assert asked("random", 3, []) == asked("random", 3, history)
    assert asked("random", 3, []) != asked("random", 4, [])
    assert asked("random", 3, []) != asked("random", 3, [], seed=2)


def test_spread_settings_cover_the_space_however_many_there_are() -> None:
    one = {"learning_rate": Axis(log_uniform=(1e-4, 1e-1))}
    for seed in range(50):
        for count in (2, 3, 5, 8):
            settings = [
                ask("quasi_random", one, number, [], seed=seed, higher_is_better=True)
                for number in range(count)
            ]
            places = sorted((np.log10(float(str(s["learning_rate"]))) + 4) / 3 for s in settings)
            gaps = np.diff([*places, places[0] + 1])  # around the circle that the sequence runs on
            assert 0.35 / count < gaps.min()
            assert gaps.max() < 1.7 / count
    assert len({str(asked("quasi_random", number, [])) for number in range(20)}) == 20
    assert {asked("quasi_random", number, [])["method.r"] for number in range(4)} == {4, 16}


def test_spread_settings_depend_on_seed_and_number_alone() -> None:
    history = [Ended({"learning_rate": 0.1, "method.r": 4, "share": 0.5}, 1.0)]
    assert asked("quasi_random", 3, []) == asked("quasi_random", 3, history)
    assert asked("quasi_random", 3, []) != asked("quasi_random", 3, [], seed=2)


def test_optuna_gives_the_same_setting_for_the_same_history_and_follows_what_was_good() -> None:
    generator = np.random.default_rng(0)
    history = [
        Ended(setting, -abs(np.log10(float(str(setting["learning_rate"]))) + 2))
        for setting in (draw(SPACE, generator) for _ in range(30))
    ]
    assert asked("optuna", 30, history) == asked("optuna", 30, history)
    found = [asked("optuna", number, history) for number in range(30, 50)]
    distance = [abs(np.log10(float(str(s["learning_rate"]))) + 2) for s in found]
    drawn = [-float(str(trial.score)) for trial in history]
    assert np.mean(distance) < 0.6 * np.mean(drawn)


def test_optuna_takes_failed_trials_and_looks_the_other_way_for_losses() -> None:
    history = [
        Ended({"learning_rate": rate, "method.r": 4, "share": 0.5}, rate)
        for rate in np.geomspace(1e-4, 1e-1, 20)
    ]
    history.append(Ended({"learning_rate": 1e-3, "method.r": 16, "share": 0.5}, None, "failed"))
    history.append(Ended({"learning_rate": 2e-3, "method.r": 16, "share": 0.5}, 0.1, "stopped"))
    low, high = (
        np.mean(
            [float(str(asked("optuna", n, history, higher=higher)["learning_rate"])) for n in range(21, 41)]
        )
        for higher in (False, True)
    )
    assert low < high


def test_grid_holds_every_combination_once_and_ends() -> None:
    space = {"a": Axis(choice=(1, 2)), "b": Axis(choice=("x", "y", "z"))}
    settings = [ask("grid", space, number, [], seed=0, higher_is_better=True) for number in range(6)]
    assert {(s["a"], s["b"]) for s in settings} == {(a, b) for a in (1, 2) for b in "xyz"}
    with pytest.raises(ValueError, match="is a range, and a grid needs choices"):
        grid(SPACE)


def test_corners_hold_every_end_of_every_axis() -> None:
    found = list(corners(SPACE))
    for name, axis in SPACE.items():
        assert {setting[name] for setting in found} == set(axis.ends)
