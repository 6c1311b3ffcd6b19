"""How far a step is, as a bar on a terminal and as a line that another terminal makes a bar of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from descant.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

MARK = "@progress "
"""How a line begins that tells a position."""


@dataclass(frozen=True)
class Position:
    """How far a step is."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", allow_inf_nan=False)

    number: int
    steps: int
    label: str
    done: float
    total: float
    unit: str
    note: str
    seconds: float
    """Since it began."""

    @property
    def amount(self) -> str:
        """``4,096/10,654 passages  180.2/s``."""
        rate = self.done / max(self.seconds, 1e-3)
        return f"{self.done:,.0f}/{self.total:,.0f} {self.unit}  {rate:,.1f}/s  {self.note}"

    def as_line(self) -> str:
        """One line with its end."""
        return f"{MARK}{json.dumps(asdict(self))}\n"

    @classmethod
    def from_line(cls, line: str) -> Self | None:
        """What ``as_line`` wrote, fit for a terminal; None for every other line."""
        if not line.startswith(MARK):
            return None
        try:
            found = TypeAdapter(cls).validate_json(line.removeprefix(MARK), strict=True)
        except ValidationError:
            return None
        return replace(
            found, label=printable(found.label), unit=printable(found.unit), note=printable(found.note)
        )


class Bar:
    """A live bar for one step; gone afterwards. Output of the console meanwhile appears above it."""

    def __init__(self, console: Console, number: int, steps: int, label: str) -> None:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.number = number
        self._live = Progress(
            TextColumn(f"[{number:>{len(str(steps))}}/{steps}] {{task.description}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._live.add_task(escape(label), total=None, amount="")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, position: Position) -> None:
        """Move it."""
        self._live.update(self._task, completed=position.done, total=position.total, amount=position.amount)
