import dataclasses

import numpy as np
import pytest

from descant.core.errors import DataError
from descant.evaluators.statistics import holm
from descant.evaluators.study import Budget, CurvePoint, Entry, FinalRun, Study, StudyTask, Trial
from descant.evaluators.study_statistics import (
    BASE,
    TaskResult,
    pareto_front,
    seconds_to_quality,
    task_result,
)
from descant.evaluators.two_level import two_level_difference, two_level_interval


def final(scores: np.ndarray, seed: int, *, reached: float | None = 3.0) -> FinalRun:
    by_example = {f"e{i:03}": float(s) for i, s in enumerate(scores)}
    return FinalRun(seed, {}, {}, by_example, 10, 10, 40, 1000 + seed, 5.0 + seed, 9.0, reached, (), None, {})


def study(
    methods: dict[str, np.ndarray], *, base: np.ndarray | None = None, higher_is_better: bool = True
) -> Study:
    """Of float64 [seeds, examples] by method."""
    num = next(iter(methods.values())).shape[1]
    base_scores = None if base is None else {f"e{i:03}": float(s) for i, s in enumerate(base)}
    task = StudyTask("task", "accuracy", higher_is_better, 10, num, base_scores, None)
    entries = [
        Entry("task", m, (), tuple(final(row, seed) for seed, row in enumerate(rows)))
        for m, rows in methods.items()
    ]
    return Study(
        "s", "base", 3, (task,), tuple(methods), tuple(entries), Budget("trials", 2), "none", "random", {}
    )


def result(made: Study) -> TaskResult:
    return task_result(made, made.tasks[0])


def noisy(generator: np.random.Generator, mean: float = 0.0, *, num_examples: int = 40) -> np.ndarray:
    """Three seeds of a method; examples are as hard for one method as for another."""
    hardness = np.linspace(-1, 1, num_examples)
    seeds = generator.normal(0, 0.1, (3, 1))
    return mean + hardness + seeds + generator.normal(0, 0.5, (3, num_examples))


def test_rows_are_sorted_by_score_and_hold_means_intervals_and_corrected_differences() -> None:
    generator = np.random.default_rng(0)
    a, b, c = noisy(generator), noisy(generator, 2.0), noisy(generator, 1.7)
    made = result(study({"a": a, "b": b, "c": c}, base=a[0] - 1.0))
    assert [row.method for row in made.rows] == ["b", "c", "a", BASE]
    assert made.best is not None
    assert made.best.method == "b"
    raw = [two_level_difference(x, b, seed=3) for x in (a, c, a[:1] - 1.0)]
    corrected = holm([d.p_value for d in raw])
    for name, scores, d, p in zip(["a", "c", BASE], (a, c, a[:1] - 1.0), raw, corrected, strict=True):
        row = made.row(name)
        assert row is not None
        assert row.to_best is not None
        assert row.mean == pytest.approx(scores.mean())
        assert row.interval == two_level_interval(scores, seed=3)
        assert (row.to_best.mean, row.to_best.interval, row.to_best.p_value) == (d.mean, d.interval, p)
    assert [row.standing for row in made.rows] == ["best", "cannot be told from the best", "worse", "worse"]


def test_lower_scores_are_better_where_the_measure_says_so() -> None:
    generator = np.random.default_rng(0)
    made = result(study({"a": noisy(generator), "b": noisy(generator, 2.0)}, higher_is_better=False))
    assert [(row.method, row.standing) for row in made.rows] == [("a", "best"), ("b", "worse")]


def test_base_above_every_method_is_better_and_not_the_best() -> None:
    generator = np.random.default_rng(0)
    made = result(study({"a": noisy(generator)}, base=np.linspace(-1, 1, 40) + 2.0))
    assert [(row.method, row.standing) for row in made.rows] == [(BASE, "better"), ("a", "best")]
    assert made.rows[0].num_seeds == 0


@pytest.mark.parametrize(
    ("num_methods", "num_studies"), [(2, 150), (6, 30), pytest.param(6, 300, marks=pytest.mark.slow)]
)
def test_equal_methods_cannot_be_told_apart(num_methods: int, num_studies: int) -> None:
    generator = np.random.default_rng(8)
    quiet = 0
    for _ in range(num_studies):
        made = result(study({f"m{i}": noisy(generator) for i in range(num_methods)}))
        quiet += len(made.untold) == num_methods - 1
    assert quiet / num_studies >= 0.93


def test_real_difference_is_found_among_many_methods() -> None:
    generator = np.random.default_rng(9)
    found = 0
    for _ in range(10):
        methods = {f"m{i}": noisy(generator, 0.0 if i else 1.5) for i in range(6)}
        made = result(study(methods))
        found += made.rows[0].method == "m0" and not made.untold
    assert found >= 9


def test_failed_method_is_named_with_its_cause_and_is_no_row() -> None:
    good = study({"a": noisy(np.random.default_rng(0))})
    trials = tuple(
        Trial(i, {}, "failed", None, (), 1.0, "out of memory" if i else "no such module") for i in range(3)
    )
    failed = Entry("task", "z", trials, ())
    made = result(dataclasses.replace(good, methods=("z", "a", "y"), entries=(failed, *good.entries)))
    assert [row.method for row in made.rows] == ["a"]
    assert [(f.method, f.cause) for f in made.failures] == [
        ("z", "out of memory (2 of 3 trials); no such module (1 of 3 trials)"),
        ("y", "was not run"),
    ]


def test_task_on_which_all_failed_has_no_best() -> None:
    good = study({"a": noisy(np.random.default_rng(0))}, base=np.zeros(40))
    made = result(dataclasses.replace(good, entries=(Entry("task", "a", (), (), "disk full"),)))
    assert made.best is None
    assert [row.method for row in made.rows] == [BASE]
    assert made.failures[0].cause == "disk full"


def test_one_seed_gives_no_deviation_between_seeds() -> None:
    made = result(study({"a": noisy(np.random.default_rng(0))[:1]}))
    assert (made.rows[0].num_seeds, made.rows[0].seed_deviation) == (1, None)


def test_cost_is_the_mean_over_seeds_but_memory_is_the_largest() -> None:
    made = study({"a": noisy(np.random.default_rng(0))})
    unreached = dataclasses.replace(made.entries[0].finals[0], seconds_to_quality=None)
    entry = dataclasses.replace(made.entries[0], finals=(unreached, *made.entries[0].finals[1:]))
    cost = result(dataclasses.replace(made, entries=(entry,))).rows[0].cost
    assert cost is not None
    assert (cost.peak_memory_bytes, cost.tokens_per_second) == (1002, 6.0)
    assert (cost.seconds_to_quality, cost.num_reached) == (3.0, 2)


def test_runs_scored_on_different_examples_are_refused() -> None:
    one, other = np.zeros((1, 3)), np.zeros((1, 4))
    with pytest.raises(DataError, match=r"b seed 0.*e003"):
        result(study({"a": one, "b": other}))


def test_pareto_front_holds_what_nothing_beats() -> None:
    points = {
        "cheap": (1.0, 0.5),
        "dear": (9.0, 0.9),
        "beaten": (5.0, 0.5),
        "twin": (1.0, 0.5),
        "mid": (4.0, 0.7),
    }
    assert pareto_front(points, higher_is_better=True) == {"cheap", "twin", "mid", "dear"}
    assert pareto_front(points, higher_is_better=False) == {"cheap", "twin"}


def test_seconds_to_quality_is_the_time_of_the_first_point_that_reaches_it() -> None:
    curve = (CurvePoint(10, 0.3), CurvePoint(20, 0.6), CurvePoint(40, 0.5))
    assert seconds_to_quality(curve, 0.55, training_seconds=8.0, higher_is_better=True) == 4.0
    assert seconds_to_quality(curve, 0.7, training_seconds=8.0, higher_is_better=True) is None
    assert seconds_to_quality(curve, 0.4, training_seconds=8.0, higher_is_better=False) == 2.0
