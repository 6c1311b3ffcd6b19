"""What was measured of several systems on the same judged queries, and how each compares with a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from descant.core.errors import DataError
from descant.evaluators.statistics import Interval, PairedDifference, bootstrap_interval, holm, paired_test


@dataclass(frozen=True)
class Evaluation:
    """The per-query scores of one system."""

    system: str
    """Its name in the report."""
    query_ids: tuple[str, ...]
    """All judged queries."""
    scores: Mapping[str, np.ndarray]
    """By measure: float64 [queries], in the order of ``query_ids``."""

    def by_query(self) -> dict[str, dict[str, float]]:
        """``{query id: {measure: score}}``."""
        columns = [self.scores[name].tolist() for name in self.scores]
        rows = zip(*columns, strict=True)
        return {
            i: dict(zip(self.scores, row, strict=True)) for i, row in zip(self.query_ids, rows, strict=True)
        }

    def mean(self, measure: str) -> float:
        """Over all judged queries."""
        return float(np.mean(self.scores[measure]))

    def interval(self, measure: str, *, seed: int) -> Interval:
        """Of the mean."""
        return bootstrap_interval(self.scores[measure], seed=seed)


def compare(
    pairs: Sequence[tuple[Evaluation, Evaluation]], *, seed: int
) -> dict[tuple[str, str, str], PairedDifference]:
    """``{(system, baseline, measure): difference}`` for all pairs of a system and its baseline.

    The p-values are Holm-corrected over everything that is returned. Raises DataError when the two of a pair
    were judged on different queries or by different measures.
    """
    for system, baseline in pairs:
        _check_same_queries(system, baseline)
    found = {
        (system.system, baseline.system, name): paired_test(scores, baseline.scores[name], seed=seed)
        for system, baseline in pairs
        for name, scores in system.scores.items()
    }
    corrected = holm([difference.p_value for difference in found.values()])
    return {
        key: replace(difference, p_value=p_value)
        for (key, difference), p_value in zip(found.items(), corrected, strict=True)
    }


def largest_changes(
    evaluation: Evaluation, baseline: Evaluation, measure: str, *, num: int
) -> tuple[list[str], list[str]]:
    """Query ids of the ``num`` largest gains and of the ``num`` largest losses, largest first; ties by id."""
    _check_same_queries(evaluation, baseline)
    change = dict(zip(baseline.query_ids, evaluation.scores[measure] - baseline.scores[measure], strict=True))
    gains = sorted((i for i in change if change[i] > 0), key=lambda i: (-change[i], i))
    losses = sorted((i for i in change if change[i] < 0), key=lambda i: (change[i], i))
    return gains[:num], losses[:num]


def _check_same_queries(evaluation: Evaluation, baseline: Evaluation) -> None:
    for what, mine, theirs in (
        ("queries", evaluation.query_ids, baseline.query_ids),
        ("measures", tuple(evaluation.scores), tuple(baseline.scores)),
    ):
        if mine != theirs:
            odd = sorted(set(mine) ^ set(theirs)) or ["their order"]
            raise DataError(
                "E-EVAL-PAIRS",
                f"{evaluation.system} and {baseline.system}",
                f"were judged on different {what} (differing: {', '.join(odd[:3])})",
                "Nothing was compared. Evaluate both on the same split with the same measures.",
            )
