"""The checkpoint interval and what failures cost: the published table, the simulation, and where the formula ends."""

import random
from math import exp, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.errors import ConfigError
from descant.run.scale.checkpoints import best_interval, effective_share, mttf_seconds
from descant.run.scale.simulation import play

SAVE, RESTART = 30.0, 300.0
LLAMA = 419 / (16_384 * 54 * 24)
"""Unplanned interruptions for each hour of each GPU (arXiv:2407.21783, section 3.3.4)."""
TABLE = [
    # GPUs, hours between failures, minutes between checkpoints, useful share of the time
    (8, 6_335, 617, 0.998),
    (64, 792, 218, 0.995),
    (512, 99, 77, 0.986),
    (4_096, 12.4, 27, 0.957),
    (16_384, 3.1, 14, 0.900),
]
POINTS = 0.02


def exact_share(interval: float, save: float, restart: float, mttf: float) -> float:
    """What the simulated process comes to in the long run: Daly, FGCS 22(3), 2006, equation 9's expectation."""
    return interval / (mttf * exp(restart / mttf) * (exp((interval + save) / mttf) - 1))


def long_run(interval: float, mttf: float) -> float:
    return play(200 * mttf, interval, SAVE, RESTART, mttf, runs=100, seed=1).effective_share


@pytest.mark.parametrize(("gpus", "hours", "minutes", "share"), TABLE)
def test_interval_and_share_are_those_worked_out_by_hand(
    gpus: int, hours: float, minutes: float, share: float
) -> None:
    mttf = mttf_seconds(gpus, LLAMA)
    interval = best_interval(SAVE, mttf)
    assert mttf / 3600 == pytest.approx(hours, rel=0.01)
    assert interval / 60 == pytest.approx(minutes, rel=0.03)  # the table has whole minutes
    assert effective_share(interval, SAVE, RESTART, mttf) == pytest.approx(share, abs=0.0005)


def test_largest_cluster_is_useful_about_as_long_as_meta_reports() -> None:
    mttf = mttf_seconds(16_384, LLAMA)
    assert mttf / 3600 == pytest.approx(54 * 24 / 419)
    assert long_run(best_interval(SAVE, mttf), mttf) > 0.90


@pytest.mark.parametrize("gpus", [row[0] for row in TABLE])
def test_simulation_agrees_with_the_formula_within_two_points(gpus: int) -> None:
    mttf = mttf_seconds(gpus, LLAMA)
    interval = best_interval(SAVE, mttf)
    assert abs(long_run(interval, mttf) - effective_share(interval, SAVE, RESTART, mttf)) < POINTS


@pytest.mark.parametrize("gpus", [512, 16_384, 131_072])
@pytest.mark.parametrize("times", [0.1, 1, 10])
def test_simulation_agrees_with_the_exact_expectation_where_the_formula_does_not(
    gpus: int, times: float
) -> None:
    mttf = mttf_seconds(gpus, LLAMA)
    interval = times * best_interval(SAVE, mttf)
    assert long_run(interval, mttf) == pytest.approx(exact_share(interval, SAVE, RESTART, mttf), abs=0.005)


@pytest.mark.parametrize(("gpus", "times"), [(16_384, 10), (131_072, 1)])
def test_formula_is_off_where_interval_or_restart_are_not_short(gpus: int, times: float) -> None:
    mttf = mttf_seconds(gpus, LLAMA)
    interval = times * best_interval(SAVE, mttf)
    assert long_run(interval, mttf) - effective_share(interval, SAVE, RESTART, mttf) > 2 * POINTS


@given(
    save=st.floats(1, 600),
    mttf=st.floats(1e4, 1e8),
    times=st.floats(0.1, 10).filter(lambda x: abs(x - 1) > 0.01),
)
def test_no_other_interval_is_better_by_the_formula(save: float, mttf: float, times: float) -> None:
    best = best_interval(save, mttf)
    assert effective_share(best, save, 0, mttf) > effective_share(times * best, save, 0, mttf)


def played_by_hand(
    work: float, interval: float, save: float, restart: float, mttf: float, seed: int
) -> float:
    """One job, second by second: a plain state machine that shares nothing with the simulation."""
    chance, draw = 1 / mttf, random.Random(seed)
    clock = done = kept = saving = waiting = 0.0
    while True:
        clock += 1
        if draw.random() < chance:
            done, saving, waiting = kept, 0.0, restart
        elif waiting:
            waiting -= 1
        elif saving:
            saving -= 1
            if not saving:
                kept = done
                if kept >= work:
                    return clock
        else:
            done += 1
            if done >= work or done - kept >= interval:
                saving = save


def test_simulation_agrees_with_a_job_played_second_by_second() -> None:
    numbers = (400.0, 60.0, 5.0, 20.0, 150.0)
    by_hand = [played_by_hand(*numbers, seed) for seed in range(1500)]
    played = play(*numbers, runs=20_000, seed=3).seconds
    error = (
        4 * np.std(by_hand) / np.sqrt(len(by_hand))
    )  # 4 standard errors, and a second of rounding to seconds
    assert abs(np.mean(by_hand) - played.mean()) < error + 1
    assert np.percentile(by_hand, 90) == pytest.approx(np.percentile(played, 90), rel=0.05)


@settings(max_examples=50)
@given(work=st.floats(1, 1e5), interval=st.floats(10, 1e5), save=st.floats(0, 100))
def test_job_without_failures_takes_its_work_and_its_saves(work: float, interval: float, save: float) -> None:
    played = play(work, interval, save, 300, inf, runs=3, seed=0)
    saves = -(-work // interval)
    assert played.seconds == pytest.approx(work + saves * save)
    assert not played.failures.any()


def test_failures_are_as_many_as_the_time_between_them_says() -> None:
    played = play(1e6, 3_000, 30, 300, 1e4, runs=200, seed=0)
    assert played.failures.sum() == pytest.approx(played.seconds.sum() / 1e4, rel=0.03)


def test_equal_seeds_give_equal_jobs_and_others_do_not() -> None:
    first, again, other = (play(1e5, 1e3, 30, 300, 1e4, runs=5, seed=seed).seconds for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).all()


def test_job_that_would_never_reach_a_checkpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="E-SCALE-FAILURES"):
        play(1e6, 8_000, 30, 300, 1e3, runs=1, seed=0)
