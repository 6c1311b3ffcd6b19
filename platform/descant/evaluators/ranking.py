"""Per-query scores of rankings by trec_eval's own engine (pytrec-eval-terrier).

The rules are trec_eval's: hits are ordered by score, compared as float32, and equal scores by passage id,
*descending* byte by byte, whatever the order of the list; a passage with a grade of 0 or less, or with none,
is not relevant; nDCG takes the grade itself as gain. Every judged query counts: one without a ranking scores
0, and so does one whose judgements hold no relevant passage.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descant.core.errors import DataError, NumericsError
from descant.core.measures import Family, Measure

Ranking = Sequence[tuple[str, float]]
"""Passage ids with their scores."""
Judgements = Mapping[str, Mapping[str, int]]
"""``{query id: {passage id: grade}}``."""

MAX_GRADE = 1_000_000

_TREC_NAMES: dict[Family, str] = {
    "ndcg": "ndcg_cut",
    "recall": "recall",
    "mrr": "recip_rank",
    "map": "map_cut",
    "precision": "P",
    "success": "success",
}


@dataclass(frozen=True)
class PerQuery:
    """The scores of every judged query."""

    query_ids: tuple[str, ...]
    """All judged queries, sorted."""
    measures: tuple[Measure, ...]
    """The columns of ``scores``."""
    scores: np.ndarray
    """float64 [queries, measures]."""


def score_rankings(
    rankings: Mapping[str, Ranking], judgements: Judgements, measures: Sequence[Measure]
) -> PerQuery:
    """Score each judged query's ranking; rankings of other queries are left aside.

    Raises NumericsError with the query's id for a score that is not finite as float32; DataError for a
    passage twice in one ranking, a grade above ``MAX_GRADE``, and when not one judged query has a ranking.
    """
    values = _evaluated(rankings, judgements, {_trec_name(m) for m in measures})
    query_ids = tuple(sorted(query_id for query_id, grades in judgements.items() if grades))
    scores = np.zeros((len(query_ids), len(measures)))
    for row, query_id in enumerate(query_ids):
        if query_id in values:
            scores[row] = [_value(values[query_id], m) for m in measures]
    return PerQuery(query_ids, tuple(measures), scores)


def first_relevant_ranks(rankings: Mapping[str, Ranking], judgements: Judgements) -> dict[str, int | None]:
    """The rank, from 1, of the first relevant passage of every judged query; None where the ranking has none.

    Raises as ``score_rankings`` does.
    """
    values = _evaluated(rankings, judgements, {"recip_rank"})
    ranks: dict[str, int | None] = {query_id: None for query_id, grades in judgements.items() if grades}
    found = {query_id: row["recip_rank"] for query_id, row in values.items()}
    return ranks | {query_id: round(1 / value) for query_id, value in found.items() if value > 0}


def without_own_passage(rankings: Mapping[str, Ranking]) -> dict[str, Ranking]:
    """Rankings without the hit whose passage id is the query's own id (BEIR's ``ignore_identical_ids``).

    For collections whose queries are passages themselves; retrieve one hit more than the largest cutoff.
    """
    return {
        query_id: [hit for hit in ranking if hit[0] != query_id] for query_id, ranking in rankings.items()
    }


def _evaluated(
    rankings: Mapping[str, Ranking], judgements: Judgements, names: set[str]
) -> dict[str, dict[str, float]]:
    from pytrec_eval import RelevanceEvaluator

    grades = {query_id: _grades(query_id, row) for query_id, row in judgements.items() if row}
    run = {query_id: _scores(query_id, rankings[query_id]) for query_id in grades if rankings.get(query_id)}
    if not run:
        raise DataError(
            "E-EVAL-EMPTY",
            "rankings",
            f"none of the {len(grades)} judged queries has a ranking",
            "Nothing was scored. Check that queries and judgements use the same ids.",
        )
    values: dict[str, dict[str, float]] = RelevanceEvaluator(grades, names).evaluate(run)
    return values


def _grades(query_id: str, row: Mapping[str, int]) -> dict[str, int]:
    """The judgements as the engine can take them: grades far below 0 crash it, high ones need memory."""
    if max(row.values()) > MAX_GRADE:
        raise DataError(
            "E-EVAL-GRADE",
            f"query {query_id}",
            f"a grade of {max(row.values())}, at most {MAX_GRADE} is possible",
            "Nothing was scored. Check the judgements; grades are small integers such as 0 to 4.",
        )
    return {passage_id: max(grade, 0) for passage_id, grade in row.items()}


def _scores(query_id: str, ranking: Ranking) -> dict[str, float]:
    """The ranking as the engine reads it, checked."""
    scores = {passage_id: float(score) for passage_id, score in ranking}
    if len(scores) < len(ranking):
        raise DataError(
            "E-EVAL-TWICE",
            f"query {query_id}",
            f"{len(ranking) - len(scores)} of its {len(ranking)} hits repeat a passage",
            "Nothing was scored. A ranking names each passage once.",
        )
    _refuse_nonfinite(query_id, scores)
    return scores


def _refuse_nonfinite(query_id: str, scores: Mapping[str, float]) -> None:
    with np.errstate(over="ignore"):
        finite: Iterable[bool] = np.isfinite(np.array(list(scores.values()), np.float32))
    for (passage_id, score), good in zip(scores.items(), finite, strict=True):
        if not good:
            raise NumericsError(
                "E-RUN-NONFINITE",
                f"query {query_id}",
                f"passage {passage_id} scores {score}, expected a finite float32",
                "Nothing was scored. Find what made it: a zero vector, an overflow, a damaged file.",
            )


def _trec_name(measure: Measure) -> str:
    name = _TREC_NAMES[measure.family]
    return name if measure.family == "mrr" else f"{name}.{measure.cutoff}"


def _value(values: Mapping[str, float], measure: Measure) -> float:
    if measure.family != "mrr":
        return values[_trec_name(measure).replace(".", "_")]
    # trec_eval knows no cutoff for the reciprocal rank: a first hit below the cutoff counts as none
    reciprocal = values["recip_rank"]
    return reciprocal if reciprocal >= 1 / measure.cutoff else 0.0
