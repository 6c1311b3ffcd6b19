import numpy as np
import pytest

from descant.core.errors import DataError
from descant.evaluators.evaluation import Evaluation, compare, largest_changes
from descant.evaluators.statistics import holm, paired_test


def evaluation(system: str, *, shift: float = 0.0, seed: int = 0, n: int = 40) -> Evaluation:
    generator = np.random.default_rng(0)
    noise = np.random.default_rng(seed + 1).normal(0, 0.1, (2, n))
    scores = generator.random((2, n)) + noise * (seed > 0) + shift
    ids = tuple(f"q{i:02d}" for i in range(n))
    return Evaluation(system, ids, {"ndcg_at_10": scores[0], "recall_at_100": scores[1]})


def test_compare_covers_every_pair_and_every_measure() -> None:
    base, tuned, best = evaluation("base"), evaluation("tuned", seed=1), evaluation("best", seed=2)
    assert list(compare([(tuned, base), (best, tuned)], seed=3)) == [
        ("tuned", "base", "ndcg_at_10"),
        ("tuned", "base", "recall_at_100"),
        ("best", "tuned", "ndcg_at_10"),
        ("best", "tuned", "recall_at_100"),
    ]


def test_compare_corrects_the_p_values_for_all_comparisons_together() -> None:
    base, systems = evaluation("base"), [evaluation("a", shift=0.03, seed=1), evaluation("b", seed=2)]
    found = compare([(system, base) for system in systems], seed=3)
    raw = [paired_test(s.scores[m], base.scores[m], seed=3).p_value for s in systems for m in base.scores]
    assert [difference.p_value for difference in found.values()] == holm(raw)


def test_compare_of_systems_judged_on_other_queries_is_refused() -> None:
    with pytest.raises(DataError, match="different queries \\(differing: q39\\)"):
        compare([(evaluation("tuned", n=39), evaluation("base"))], seed=0)


def test_compare_of_systems_judged_by_other_measures_is_refused() -> None:
    base = evaluation("base")
    tuned = Evaluation("tuned", base.query_ids, {"ndcg_at_10": base.scores["ndcg_at_10"]})
    with pytest.raises(DataError, match="different measures \\(differing: recall_at_100\\)"):
        compare([(tuned, base)], seed=0)


def test_largest_changes_are_ordered_and_ties_go_by_id() -> None:
    ids = ("q1", "q2", "q3", "q4", "q5")
    base = Evaluation("base", ids, {"m": np.array([0.5, 0.5, 0.5, 0.5, 0.5])})
    tuned = Evaluation("tuned", ids, {"m": np.array([0.6, 0.0, 1.0, 0.6, 0.5])})
    assert largest_changes(tuned, base, "m", num=2) == (["q3", "q1"], ["q2"])
    assert largest_changes(tuned, base, "m", num=9) == (["q3", "q1", "q4"], ["q2"])


def test_mean_lies_within_its_interval() -> None:
    result = evaluation("base")
    low, high = result.interval("ndcg_at_10", seed=0)
    assert low < result.mean("ndcg_at_10") < high
