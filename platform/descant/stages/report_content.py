"""What a report tells: systems and their scores, who is compared with whom, and the facts around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from descant.core.measures import measure
from descant.evaluators.evaluation import Evaluation, compare
from descant.evaluators.statistics import ALPHA, NUM_RESAMPLES, Interval, PairedDifference, p_text

MINUS = "\N{MINUS SIGN}"

Fact = str | int | float | bool | None | Sequence[str]


@dataclass(frozen=True)
class QueryChange:
    """A query on which a system did better or worse than its baseline."""

    query_id: str
    text: str
    rank_before: int | None
    """Rank of the first relevant passage in the baseline's ranking; None where it was not retrieved."""
    rank_after: int | None
    """The same in the system's ranking."""
    difference: float
    """Of the first measure."""


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline by one measure."""

    system: str
    baseline: str
    measure: str
    difference: PairedDifference

    @property
    def sentence(self) -> str:
        """For people; where nothing is shown it says what could still be hidden."""
        found, label = self.difference, measure(self.measure).label
        low, high = found.interval
        if not found.wins + found.losses:
            return f"scores the same as {self.baseline} on every query by {label}"
        if found.verdict == "no difference shown":
            return (
                f"cannot be told from {self.baseline} by {label} ({p_text(found.p_value)}): "
                f"anything from {signed(low)} to {signed(high)} is plausible"
            )
        return (
            f"is {found.verdict} than {self.baseline} by {abs(found.mean):.3f} {label} "
            f"[{signed(low)}, {signed(high)}] ({p_text(found.p_value)})"
        )


@dataclass(frozen=True)
class Content:
    """Everything a report shows; ``evaluations`` hold the same queries and measures, the baseline's too."""

    title: str
    """What was asked."""
    baseline: str
    """The system that every other one is compared with."""
    evaluations: Sequence[Evaluation]
    """All systems, in the order of the page."""
    seed: int
    """Draws the bootstrap samples and sign flips."""
    also_compare: Sequence[tuple[str, str]] = ()
    """More pairs of a system and what it is compared with."""
    warnings: Sequence[str] = ()
    """What a reader must know before believing a number."""
    changes: Mapping[str, Sequence[QueryChange]] = field(default_factory=dict)
    """By system: queries with the largest gains and losses against the baseline."""
    training: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    """By system: trainable parameters, seconds and the like."""
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By system: the training loss of each step, finite."""
    facts: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    """By heading: counts, settings, versions."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """By name: the address of every result that the report is made from."""

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures; the first one leads."""
        return tuple(self.evaluations[0].scores)

    @property
    def num_queries(self) -> int:
        """How many queries were judged."""
        return len(self.evaluations[0].query_ids)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each system with the baseline, then the further pairs."""
        systems = [e.system for e in self.evaluations if e.system != self.baseline]
        return [*((system, self.baseline) for system in systems), *self.also_compare]

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All pairs by all measures; p-values are Holm-corrected over all of them."""
        by_name = {e.system: e for e in self.evaluations}
        pairs = [(by_name[system], by_name[baseline]) for system, baseline in self.pairs]
        found = compare(pairs, seed=self.seed)
        return tuple(Comparison(*key, difference) for key, difference in found.items())

    @cached_property
    def intervals(self) -> dict[tuple[str, str], Interval]:
        """Of every system's mean, by system and measure."""
        return {
            (e.system, name): e.interval(name, seed=self.seed)
            for e in self.evaluations
            for name in self.measures
        }

    def against_baseline(self, system: str, name: str) -> PairedDifference | None:
        """How ``system`` differs from the baseline by the measure ``name``; None for the baseline itself."""
        for comparison in self.comparisons:
            if (comparison.system, comparison.baseline, comparison.measure) == (system, self.baseline, name):
                return comparison.difference
        return None

    @property
    def method(self) -> str:
        """How the numbers were made and what they do not say."""
        return (
            f"Means are over all {self.num_queries:,} judged queries; a query without a ranking counts as 0. "
            f"Intervals are 95 %, by percentile bootstrap over queries with {NUM_RESAMPLES:,} resamples. "
            "p-values are by two-sided paired randomisation tests, Holm-corrected for all comparisons made "
            f"here ({len(self.comparisons)}); below {ALPHA} a difference counts as shown. “No difference "
            "shown” means that these queries cannot tell the two apart, not that they are equal. All of this "
            "speaks of other queries of the same kind; another training seed moves the numbers too."
        )


def signed(value: float) -> str:
    """Three decimals with a sign, the minus a true one; a rounded zero is positive."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)


def shown(value: Fact) -> str:
    """A fact for people: thousands separated, four digits of a fraction, lists joined by commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return value if isinstance(value, str) else ", ".join(value)


def size_text(size: float) -> str:
    """Bytes for people: ``9.4 MB``, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
