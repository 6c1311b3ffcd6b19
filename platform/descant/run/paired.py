"""Two registered versions against each other, on the examples that both were judged on."""

from collections.abc import Sequence
from dataclasses import dataclass

from descant.artifacts.store import Store
from descant.core.errors import DataError
from descant.evaluators.statistics import PairedDifference, paired_test
from descant.run.gate import gains, in_order, registered_evidence
from descant.run.registry import connected
from descant.run.versions import Version, find_version


@dataclass(frozen=True)
class Pairing:
    """The outcome; ``difference`` is the first version's minus the second's."""

    first: Version
    second: Version
    measure: str
    means: tuple[float, float]
    num_examples: int
    difference: PairedDifference


def compare(first: str, second: str, store: Store) -> Pairing:
    """Compare the versions ``first`` and ``second`` by the scores that were registered with them.

    Raises ConfigError where there is no such version, DataError where they were judged on other tasks, by other
    measures or on other examples, IntegrityError where scores are not those that were registered.
    """
    connection = connected(store)
    versions = [find_version(connection, source) for source in (first, second)]
    one, other = (registered_evidence(connection, version) for version in versions)
    for what, here, there in (
        ("task", one.task, other.task),
        ("measure", one.measure, other.measure),
    ):
        if here != there:
            raise DataError(
                "E-REG-TASK",
                f"{versions[0].uri} and {versions[1].uri}",
                f"were judged by another {what}: {here} and {there}",
                "Scores of different tasks or measures say nothing about each other. Evaluate both alike.",
            )
    mine, theirs = in_order(one.scores, other.scores)
    better = gains(one.scores, other.scores, higher_is_better=one.higher_is_better)
    return Pairing(
        first=versions[0],
        second=versions[1],
        measure=one.measure,
        means=(_mean(mine), _mean(theirs)),
        num_examples=len(mine),
        difference=paired_test(*better),
    )


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
