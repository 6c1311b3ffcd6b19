import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import pytrec_eval

from descant.core.errors import DataError, NumericsError
from descant.core.measures import measure
from descant.evaluators.ranking import PerQuery, first_relevant_ranks, score_rankings, without_own_passage

NAMES = ("ndcg_at_10", "recall_at_100", "mrr_at_10", "map_at_20", "precision_at_5", "success_at_3")
TREC_NAMES = ("ndcg_cut_10", "recall_100", "recip_rank", "map_cut_20", "P_5", "success_3")
Ranking = list[tuple[str, float]]


def random_task(seed: int) -> tuple[dict[str, Ranking], dict[str, dict[str, int]]]:
    """A ranking with many equal scores, and grades from -1 to 3, some for passages that it does not hold."""
    generator = np.random.default_rng(seed)
    passages = [f"d{i}" for i in range(int(generator.integers(1, 40)))]
    retrieved = generator.permutation(passages)[: int(generator.integers(1, len(passages) + 1))]
    levels = int(generator.integers(1, 30))
    ranking = [(str(i), float(generator.integers(levels)) / 7) for i in retrieved]
    grades = {str(i): int(generator.integers(-1, 4)) for i in generator.permutation(passages)[:12]}
    return {"q": ranking}, {"q": grades}


def trec_order(ranking: Ranking) -> list[str]:
    """By score as float32, then by passage id from the last to the first."""
    by_id = sorted(ranking, key=lambda hit: hit[0].encode(), reverse=True)
    return [passage_id for passage_id, _ in sorted(by_id, key=lambda hit: -np.float32(hit[1]))]


def slow_ndcg(order: list[str], grades: Mapping[str, int], k: int) -> float:
    def dcg(gains: list[int]) -> float:
        return sum(max(gain, 0) / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))

    best = dcg(sorted(grades.values(), reverse=True))
    return dcg([grades.get(i, 0) for i in order]) / best if best else 0.0


def slow_recall(order: list[str], grades: Mapping[str, int], k: int) -> float:
    relevant = {i for i, grade in grades.items() if grade > 0}
    return len(relevant & set(order[:k])) / len(relevant) if relevant else 0.0


def slow_mrr(order: list[str], grades: Mapping[str, int], k: int) -> float:
    for rank, passage_id in enumerate(order[:k], start=1):
        if grades.get(passage_id, 0) > 0:
            return 1 / rank
    return 0.0


def scored(
    rankings: Mapping[str, Ranking], judgements: Mapping[str, Mapping[str, int]], *names: str
) -> PerQuery:
    return score_rankings(rankings, judgements, [measure(name) for name in names])


def test_score_rankings_on_1000_random_runs_with_ties_equals_pytrec_eval() -> None:
    tasks = {f"q{seed}": random_task(seed) for seed in range(1000)}
    rankings = {query_id: task[0]["q"] for query_id, task in tasks.items()}
    judgements = {query_id: task[1]["q"] for query_id, task in tasks.items()}
    result = scored(rankings, judgements, *(name for name in NAMES if name != "mrr_at_10"))
    raw = pytrec_eval.RelevanceEvaluator(judgements, set(TREC_NAMES)).evaluate(
        {query_id: dict(ranking) for query_id, ranking in rankings.items()}
    )
    expected = [[raw[i][name] for name in TREC_NAMES if name != "recip_rank"] for i in result.query_ids]
    assert len(result.query_ids) == 1000
    np.testing.assert_allclose(result.scores, expected, rtol=0, atol=1e-9)


def test_mrr_of_random_runs_equals_pytrec_eval_on_the_run_cut_at_k() -> None:
    for seed in range(300):
        rankings, judgements = random_task(seed)
        scores = dict(rankings["q"])
        cut = {i: scores[i] for i in trec_order(rankings["q"])[:10]}
        raw = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate({"q": cut})
        assert scored(rankings, judgements, "mrr_at_10").scores[0, 0] == pytest.approx(
            raw["q"]["recip_rank"], abs=1e-9
        )


@pytest.mark.parametrize(
    ("name", "slow"), [("ndcg_at_10", slow_ndcg), ("recall_at_10", slow_recall), ("mrr_at_10", slow_mrr)]
)
def test_score_rankings_of_random_runs_equals_the_definition(
    name: str, slow: Callable[[list[str], Mapping[str, int], int], float]
) -> None:
    for seed in range(300):
        rankings, judgements = random_task(seed)
        expected = slow(trec_order(rankings["q"]), judgements["q"], 10)
        assert scored(rankings, judgements, name).scores[0, 0] == pytest.approx(expected, abs=1e-9)


def test_ndcg_with_grades_equals_the_hand_computation() -> None:
    ranking = [("b", 3.0), ("a", 2.0), ("x", 1.0), ("c", 0.5)]
    grades = {"a": 2, "b": 1, "c": 1}
    found = 1 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(5)
    best = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert scored({"q": ranking}, {"q": grades}, "ndcg_at_10").scores[0, 0] == pytest.approx(found / best)


@pytest.mark.parametrize(("relevant", "rank"), [("a", 3), ("b", 2), ("c", 1)])
def test_equal_scores_rank_by_descending_passage_id_whatever_the_list_says(relevant: str, rank: int) -> None:
    rankings = {"q": [("b", 1.0), ("a", 1.0), ("c", 1.0)]}
    assert scored(rankings, {"q": {relevant: 1}}, "mrr_at_10").scores[0, 0] == pytest.approx(1 / rank)


def test_scores_that_differ_beyond_float32_only_are_equal() -> None:
    rankings = {"q": [("a", 1.0 + 1e-12), ("b", 1.0)]}
    assert first_relevant_ranks(rankings, {"q": {"a": 1}}) == {"q": 2}


@pytest.mark.parametrize(("cutoff", "expected"), [(2, 0.0), (3, 1 / 3), (49, 1 / 3)])
def test_mrr_of_a_first_hit_at_rank_three_respects_the_cutoff(cutoff: int, expected: float) -> None:
    rankings = {"q": [("x", 3.0), ("y", 2.0), ("a", 1.0)]}
    assert scored(rankings, {"q": {"a": 1}}, f"mrr_at_{cutoff}").scores[0, 0] == expected


def test_mrr_cutoff_is_exact_for_every_rank() -> None:
    passages = [f"{i:04d}" for i in range(1000)]
    rankings = {"q": [(i, -float(i)) for i in passages]}
    for rank in range(1, 1001):
        judged = {"q": {passages[rank - 1]: 1}}
        at, below = measure(f"mrr_at_{rank}"), measure(f"mrr_at_{max(rank - 1, 1)}")
        scores = score_rankings(rankings, judged, [at, below]).scores[0]
        assert scores[0] > 0
        assert scores[1] == 0 or rank == 1


def test_judged_query_without_a_ranking_scores_zero_and_enters_the_mean() -> None:
    judgements = {"q2": {"a": 1}, "q1": {"a": 1}, "q3": {"a": 1}}
    result = scored({"q1": [("a", 1.0)], "q3": [], "unjudged": [("a", 1.0)]}, judgements, *NAMES)
    assert result.query_ids == ("q1", "q2", "q3")
    assert result.scores.dtype == np.float64
    assert result.scores[0].tolist() == [1, 1, 1, 1, 0.2, 1]
    assert not result.scores[1:].any()


@pytest.mark.parametrize("grades", [{"a": 0}, {"a": -1, "b": -2}, {"a": -999_999_999}])
def test_query_whose_judgements_hold_no_relevant_passage_scores_zero(grades: dict[str, int]) -> None:
    result = scored({"q": [("a", 1.0)]}, {"q": grades}, *NAMES)
    assert result.query_ids == ("q",)
    assert not result.scores.any()


def test_negative_grade_counts_as_not_relevant() -> None:
    rankings = {"q": [("bad", 2.0), ("good", 1.0)]}
    negative = scored(rankings, {"q": {"bad": -3, "good": 1}}, *NAMES).scores
    zero = scored(rankings, {"q": {"bad": 0, "good": 1}}, *NAMES).scores
    assert negative.tolist() == zero.tolist()


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e300])
def test_score_that_is_not_a_finite_float32_is_refused_with_the_query(score: float) -> None:
    with pytest.raises(NumericsError, match="query q7: passage b scores") as caught:
        scored({"q7": [("a", 1.0), ("b", score)]}, {"q7": {"a": 1}}, "ndcg_at_10")
    assert caught.value.exit_code == 8


def test_grade_beyond_what_the_engine_can_hold_is_refused() -> None:
    with pytest.raises(DataError, match="query q: a grade of 1000001"):
        scored({"q": [("a", 1.0)]}, {"q": {"a": 1_000_001}}, "ndcg_at_10")


def test_ranking_that_repeats_a_passage_is_refused() -> None:
    with pytest.raises(DataError, match="query q: 1 of its 3 hits repeat a passage"):
        scored({"q": [("a", 1.0), ("b", 0.5), ("a", 0.2)]}, {"q": {"a": 1}}, "ndcg_at_10")


@pytest.mark.parametrize("judgements", [{}, {"1": {"a": 1}}, {"q": {}}])
def test_rankings_without_any_judged_query_are_refused(judgements: dict[str, dict[str, int]]) -> None:
    with pytest.raises(DataError, match="judged queries has a ranking"):
        scored({"q": [("a", 1.0)]}, judgements, "ndcg_at_10")


def test_first_relevant_ranks_equals_the_definition() -> None:
    for seed in range(200):
        rankings, judgements = random_task(seed)
        mrr = slow_mrr(trec_order(rankings["q"]), judgements["q"], 1000)
        assert first_relevant_ranks(rankings, judgements) == {"q": round(1 / mrr) if mrr else None}


def test_without_own_passage_drops_the_hit_with_the_query_id() -> None:
    rankings = {"a": [("a", 2.0), ("b", 1.0)], "c": [("a", 1.0)]}
    assert without_own_passage(rankings) == {"a": [("b", 1.0)], "c": [("a", 1.0)]}
