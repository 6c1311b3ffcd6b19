"""The gate before the alias ``champion``: a version passes when a paired test says it is better."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from descant.core.errors import DataError, NumericsError, PolicyError
from descant.run.mlflow_client import Connection, answering
from descant.run.versions import Version, check_digests, versions_of

CHAMPION = "champion"
EVIDENCE = "evidence.json"


class Comparison(Protocol):
    """The outcome of a paired test; ``str()`` tells the difference, its interval and the p-value."""

    @property
    def better(self) -> bool:
        """Whether the first scores are higher than the second beyond chance."""


PairedTest = Callable[[Sequence[float], Sequence[float]], Comparison]


@dataclass(frozen=True)
class Evidence:
    """What an evaluation says about a model: its own scores and those of its base on the same examples.

    Raises NumericsError for a score that is not finite.
    """

    task: str
    """The digest of what was judged: a retrieval task's corpus, queries and judgements; a task's rows."""
    measure: str
    """The measure that decides, such as ``ndcg_at_10``."""
    scores: Mapping[str, float]
    """The model's score for every judged example (a query, a row), by its id."""
    base_scores: Mapping[str, float]
    """The base model's score for the same examples."""
    intervals: Mapping[str, tuple[float, float, float]]
    """By measure: the mean and both ends of its 95 % interval."""
    higher_is_better: bool = True
    """Which way the measure points."""

    def __post_init__(self) -> None:
        for example_id, score in [*self.scores.items(), *self.base_scores.items()]:
            if not math.isfinite(score):
                raise NumericsError(
                    "E-REG-SCORE", f"example {example_id}", f"scores {score}", "Nothing was registered."
                )

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def judge(
    connection: Connection, version: Version, evidence: Evidence, paired_test: PairedTest
) -> tuple[bool, str]:
    """Whether ``version`` may become the champion of its name, and why.

    It is compared with the present champion by the scores that were registered with each, or with its own
    base where there is no champion. Scores of another task or measure are not compared. Raises DataError when
    the examples differ, IntegrityError when the champion's scores are not those that were registered.
    """
    champions = [v for v in versions_of(connection, version.name) if CHAMPION in v.aliases]
    if not champions:
        found = paired_test(
            *gains(evidence.scores, evidence.base_scores, higher_is_better=evidence.higher_is_better)
        )
        return found.better, f"against the base: {found}"
    champion = champions[0]
    if champion.number == version.number:
        return False, "is the champion already"
    theirs = registered_evidence(connection, champion)
    if (theirs.task, theirs.measure) != (evidence.task, evidence.measure):
        return (
            False,
            f"not compared: version {champion.number} was judged by {theirs.measure} on another task",
        )
    found = paired_test(*gains(evidence.scores, theirs.scores, higher_is_better=evidence.higher_is_better))
    return found.better, f"against version {champion.number}: {found}"


def registered_evidence(connection: Connection, version: Version) -> Evidence:
    """The scores a version was registered with; IntegrityError when they were changed since."""
    if "evidence_sha256" not in version.tags:
        raise PolicyError(
            "E-REG-FOREIGN",
            version.uri,
            "has no scores: it was not registered by descant",
            "Nothing was compared.",
        )
    with tempfile.TemporaryDirectory() as folder:
        with answering(connection.uri):
            path = Path(connection.client.download_artifacts(version.run_id, EVIDENCE, folder))
        check_digests(Path(folder), {EVIDENCE: version.tags["evidence_sha256"]})
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    intervals = {measure: (mean, low, high) for measure, (mean, low, high) in values.pop("intervals").items()}
    return Evidence(**values, intervals=intervals)


def in_order(mine: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Both sides' scores in one order of examples; DataError where the examples differ."""
    if set(mine) != set(theirs):
        odd = sorted(set(mine) ^ set(theirs))
        raise DataError(
            "E-REG-EXAMPLES",
            f"example {odd[0]}",
            f"{len(odd)} examples are scored on one side only, a paired test needs the same on both",
            "The champion was not changed. Evaluate both on the same examples.",
        )
    order = sorted(mine)
    return [mine[i] for i in order], [theirs[i] for i in order]


def gains(
    mine: Mapping[str, float], theirs: Mapping[str, float], *, higher_is_better: bool
) -> tuple[list[float], list[float]]:
    """As ``in_order``, so that higher is better: losses change their sign."""
    one, other = in_order(mine, theirs)
    return (one, other) if higher_is_better else ([-score for score in one], [-score for score in other])
