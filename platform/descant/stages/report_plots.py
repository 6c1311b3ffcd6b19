"""Positions and SVG paths of the report's charts, as plain numbers: the page styles them for light and dark.

Charts stretch with the page, so everything is in percent of a track or in a 100 x 100 view box.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_POINTS = 400
"""More values than this in one curve are thinned out: a screen shows no more."""


@dataclass(frozen=True)
class Scale:
    """A horizontal axis from ``low`` to ``high``."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """Where ``value`` lies, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def ticks(self, count: int) -> list[float]:
        """About ``count`` round values within the axis."""
        step = nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]


def scale_around(values: Sequence[float], *, margin: float = 0.06) -> Scale:
    """An axis that holds ``values`` with some margin; of width 1 where all are equal."""
    low, high = min(values), max(values)
    room = margin * (high - low) or 0.5
    return Scale(low - room, high + room)


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def loss_line(losses: Sequence[float], num_steps: int, scale: Scale) -> str:
    """A smoothed curve over steps 1 to ``num_steps``, y by ``scale``: the points of an SVG polyline."""
    smooth = smoothed(losses)
    picked = thinned(len(smooth))
    width = max(num_steps - 1, 1)
    return " ".join(f"{100 * i / width:.2f},{100 - scale.percent(smooth[i]):.2f}" for i in picked)


def smoothed(losses: Sequence[float]) -> list[float]:
    """The mean over a window of about a twentieth of the steps around each; ends have shorter windows."""
    half = len(losses) // 40
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(losses, np.float64))])
    index = np.arange(len(losses))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(losses))
    return [float(mean) for mean in (sums[high] - sums[low]) / (high - low)]


def difference_areas(differences: Sequence[float]) -> tuple[str, str]:
    """SVG paths of the gains and of the losses, per query, from the largest gain to the largest loss.

    The zero line is at y = 50; the largest difference of either sign reaches the edge.
    """
    ordered = sorted(differences, reverse=True)
    largest = max(map(abs, ordered)) or 1.0
    picked = thinned(len(ordered))
    width = 100 / len(picked)
    heights = [50 * ordered[i] / largest for i in picked]
    gains = "".join(_bar(i * width, width, h) for i, h in enumerate(heights) if h > 0)
    losses = "".join(_bar(i * width, width, h) for i, h in enumerate(heights) if h < 0)
    return gains, losses


def thinned(length: int) -> list[int]:
    """At most ``MAX_POINTS`` evenly spaced positions from the first to the last."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(length, MAX_POINTS)).round()})


def _bar(left: float, width: float, height: float) -> str:
    return f"M{left:.2f} 50v{-height:.2f}h{width:.2f}v{height:.2f}z"
