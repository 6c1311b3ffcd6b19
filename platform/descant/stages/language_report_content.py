"""What the report of a language adaptation tells: side effects, systems, initialisers, curves, samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from descant.evaluators.bits_per_byte import bits_per_byte_difference, bits_per_byte_score
from descant.evaluators.statistics import Interval
from descant.stages.corpora import CORPORA, LANGUAGE
from descant.stages.report_content import MINUS, Fact, shown, signed

WRITING_SPEED = "bytes per second, writing"
"""The fact of a system that says how fast it writes text of the language."""


@dataclass(frozen=True)
class TextScores:
    """The texts of one corpus under one model; one entry each of ``nll`` (nats) and ``num_bytes`` by text."""

    nll: Sequence[float]
    num_bytes: Sequence[int]
    tokens: int

    @property
    def tokens_per_kilobyte(self) -> float:
        """How finely the model cuts them."""
        return 1000 * self.tokens / sum(self.num_bytes)


@dataclass(frozen=True)
class System:
    """A model and everything that was measured of it."""

    name: str
    scores: Mapping[str, TextScores]
    """By corpus: ``language`` and ``base language``."""
    tasks: Mapping[str, tuple[float, Interval]]
    """By task and measure: the score with its interval."""
    facts: Mapping[str, Fact]
    """Of its training and of the texts it wrote."""
    curve: Sequence[tuple[int, Mapping[str, float]]] = ()
    """Steps of the training at which it was scored, and bits per byte of each corpus there."""
    steps: int = 0
    samples: Sequence[tuple[str, str]] = ()
    """Prompts and what it wrote."""


@dataclass(frozen=True)
class InitialisedRows:
    """One way of making first rows: bits per byte of the language before and after the same short training."""

    name: str
    before: TextScores
    after: TextScores


@dataclass(frozen=True)
class LanguageContent:
    """Everything a report shows. The first system is what the others are compared with."""

    title: str
    seed: int
    side_effects: Mapping[str, Any]
    """By ``language`` and ``base_language``: facts of ``learn_vocabulary``; empty without a vocabulary."""
    new_tokens: int
    systems: Sequence[System]
    initialised: Sequence[InitialisedRows] = ()
    compare_bytes: int = 0
    """On how many bytes the initialisers were trained."""
    facts: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def bits(self) -> dict[tuple[str, str], tuple[float, Interval]]:
        """Bits per byte with intervals, by system and corpus."""
        return {
            (system.name, corpus): bits_per_byte_score(scores.nll, scores.num_bytes, seed=self.seed)
            for system in self.systems
            for corpus, scores in system.scores.items()
        }

    def difference(self, system: str, other: str, corpus: str) -> tuple[float, Interval]:
        """Of bits per byte on the same texts, with the paired interval; negative where ``system`` is better."""
        one, two = (self._system(name).scores[corpus] for name in (system, other))
        return bits_per_byte_difference(one.nll, two.nll, one.num_bytes, seed=self.seed)

    def initialiser_bits(self, one: InitialisedRows) -> tuple[float, float]:
        """Bits per byte before and after."""
        before, after = (
            float(np.sum(scores.nll) / np.log(2) / np.sum(scores.num_bytes))
            for scores in (one.before, one.after)
        )
        return before, after

    @cached_property
    def sentences(self) -> list[str]:
        """What the figures say, in words."""
        found = []
        if self.side_effects:
            saved = -self.side_effects["language"]["change"]
            grown = self.side_effects["base_language"]["change"]
            changed = self.side_effects["base_language"]["share_changed"]
            found.append(
                f"{self.new_tokens:,} new tokens: {saved:.1%} fewer tokens for held-out text of the language; "
                f"in the base language {signed_share(grown)} tokens, {changed:.1%} of the texts cut differently"
            )
        base = self.systems[0].name
        for system in self.systems[1:]:
            found.append(f"{system.name}: {self._against(system.name, base)}")
        if len(self.systems) > 2:
            last, before = self.systems[-1].name, self.systems[-2].name
            found.append(f"{last} against {before}: {self._against(last, before)}")
            if self.difference(last, before, LANGUAGE)[1].low > 0:
                found.append("by bits per byte new tokens do not pay at this budget")
        speeds = [(one.name, one.facts[WRITING_SPEED]) for one in self.systems if WRITING_SPEED in one.facts]
        if speeds:
            found.append(f"bytes written a second: {', '.join(f'{name} {shown(of)}' for name, of in speeds)}")
        if self.initialised:
            found.append(self._best_initialiser())
        return found

    def _against(self, system: str, other: str) -> str:
        parts = []
        for corpus in CORPORA:
            value, (low, high) = self.difference(system, other, corpus)
            figures = f"{signed(value)} [{signed(low)}, {signed(high)}] bits per byte"
            word = "no difference shown" if low <= 0 <= high else ("better" if value < 0 else "worse")
            parts.append(f"{corpus} {figures}, {word}")
        return "; ".join(parts)

    def _best_initialiser(self) -> str:
        figures = {one.name: self.initialiser_bits(one) for one in self.initialised}
        first = min(figures, key=lambda name: figures[name][0])
        last = min(figures, key=lambda name: figures[name][1])
        return (
            f"first rows: {first} starts lowest ({figures[first][0]:.3f} bits per byte), {last} ends lowest after "
            f"{self.compare_bytes:,} bytes ({figures[last][1]:.3f})"
        )

    def _system(self, name: str) -> System:
        return next(system for system in self.systems if system.name == name)


def signed_share(value: float) -> str:
    """A relative change in percent, with its sign."""
    return f"{value:+.2%}".replace("-", MINUS)
