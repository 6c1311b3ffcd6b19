"""Search spaces: which values a setting may take, and settings drawn from them.

A setting is named by its place, such as ``learning_rate`` or ``method.r``.
"""

import copy
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from descant.core.spec import Spec

Value = bool | int | float | str | tuple[str, ...] | None
Setting = Mapping[str, Value]
"""A value for every axis of a space, by its name."""


class Axis(Spec):
    """The values of one setting; exactly one way of naming them is used."""

    choice: tuple[Value, ...] | None = None
    """One of these."""
    uniform: tuple[float, float] | None = None
    """A number between two, ends included."""
    log_uniform: tuple[float, float] | None = None
    """A number between two, all orders of magnitude alike."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        given = [name for name in ("choice", "uniform", "log_uniform") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"name the values by exactly one of choice, uniform and log_uniform, not {given}"
            )
        if self.choice is not None and not self.choice:
            raise ValueError("choice names no value")
        limits = self.uniform or self.log_uniform
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"{list(limits)} is no range: the first number must be the smaller one")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform {list(self.log_uniform)} must lie above zero")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """All choices, or both ends of a range: what has to be valid for the whole axis to be."""
        return self.choice or self.uniform or self.log_uniform or ()

    def at(self, place: float) -> Value:
        """The value at a place in [0, 1); numbers to four significant digits, as a person would write them."""
        if self.choice is not None:
            return self.choice[int(place * len(self.choice))]
        if self.uniform is not None:
            low, high = self.uniform
            return self.rounded(low + place * (high - low))
        assert self.log_uniform is not None
        low, high = map(math.log, self.log_uniform)
        return self.rounded(math.exp(low + place * (high - low)))

    def rounded(self, value: float) -> float:
        """``value`` to four significant digits, inside the range."""
        low, high = self.uniform or self.log_uniform or (value, value)
        return min(max(float(f"{value:.4g}"), low), high)


Space = Mapping[str, Axis]


def applied(
    setting: Setting, values: Mapping[str, Any], parts: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """``values`` with what ``setting`` changes of these parts, by dotted places below them; and the rest of it."""
    changed: dict[str, Any] = copy.deepcopy(dict(values))
    rest: dict[str, Any] = {}
    for key, value in setting.items():
        part, *places = key.split(".")
        if part not in parts:
            rest[key] = value
            continue
        target, last = changed, part
        for place in places:
            if not isinstance(target.get(last), dict):
                target[last] = {}
            target, last = target[last], place
        target[last] = value
    return changed, rest


def draw(space: Space, generator: np.random.Generator) -> Setting:
    """A value for every axis, drawn in the order of their names."""
    return {name: space[name].at(float(generator.random())) for name in sorted(space)}


def spread(space: Space, number: int, generator: np.random.Generator) -> Setting:
    """The setting with this number of a sequence whose first ones, however many, cover the space evenly.

    It steps by powers of 1 / x, x the root of x^(d + 1) = x + 1 for d axes, from a place that is drawn (Roberts 2018;
    for one axis the golden ratio). So two trials never try nearly the same, as two draws may.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (len(space) + 1))
    starts = generator.random(len(space))
    return {
        name: space[name].at(float((start + number * root**-power) % 1))
        for power, (name, start) in enumerate(zip(sorted(space), starts, strict=True), start=1)
    }


def corners(space: Space) -> Iterator[Setting]:
    """Settings that together hold every end of every axis: one axis is moved at a time, the others stand still."""
    first = {name: axis.ends[0] for name, axis in space.items()}
    yield first
    for name, axis in space.items():
        for value in axis.ends[1:]:
            yield {**first, name: value}


def probes(space: Space) -> Iterator[Setting]:
    """``corners``, and a broken number inside every range: what takes whole numbers alone does not take it."""
    yield from corners(space)
    first = {name: axis.ends[0] for name, axis in space.items()}
    for name, axis in space.items():
        if axis.choice is None:
            low, high = axis.uniform or axis.log_uniform or (0.0, 1.0)
            yield {**first, name: low + min(1.0, high - low) / 3}


def grid(space: Space) -> list[Setting]:
    """Every combination of choices in order; raises ValueError where an axis is a range."""
    for name, axis in space.items():
        if axis.choice is None:
            raise ValueError(f"{name} is a range, and a grid needs choices")
    names = sorted(space)
    values = itertools.product(*(space[name].choice or () for name in names))
    return [dict(zip(names, combination, strict=True)) for combination in values]
