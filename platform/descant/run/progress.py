"""What a person sees while a job runs: one line per step, with parts, rate and time left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from descant.artifacts.store import Artifact
from descant.run.progress_bar import Bar, Position
from descant.stages.base import Progress

if TYPE_CHECKING:
    from rich.console import Console


LABEL_WIDTH = 34
"""Least width of the column of labels."""
PROGRESS_LINES = "DESCANT_PROGRESS"
"""Variable that makes a job without a terminal write its progress as lines, for whoever follows its log."""
SECONDS_BETWEEN_LINES = 2.0


class Display:
    """Progress on a terminal as live bars; elsewhere one plain line per finished step, of which there are ``steps``.

    ``labels`` decide how wide their column is.
    """

    def __init__(self, console: Console, steps: int, labels: Iterable[str]) -> None:
        self._console = console
        self.steps = steps
        self._width = len(str(steps))
        self._label_width = max(LABEL_WIDTH, *map(len, labels))

    def starting_ray(self) -> None:
        """Say why nothing moves for a few seconds."""
        self._console.print("[dim]starting Ray …[/dim]", highlight=False)

    def cached(self, number: int, label: str, artifact: Artifact) -> None:
        """A step that was done before."""
        self._line(number, label, "done before", artifact.address, "green")

    def finding(self, text: str) -> None:
        """What the step above has found, where it has anything to say."""
        if text:
            self._console.print(f"{' ' * (2 * self._width + 4)}{text}", highlight=False, markup=False)

    @contextmanager
    def step(self, number: int, label: str) -> Iterator[Progress]:
        """Show one step while it runs."""
        started = time.monotonic()
        last = {"amount": ""}
        with self._shown(number, label) as show:

            def report(done: float, total: float, unit: str, note: str = "") -> None:
                last["amount"] = f"{done:,.0f} {unit}"
                seconds = time.monotonic() - started
                show(Position(number, self.steps, label, done, total, unit, note, seconds))

            yield report
        self._line(number, label, f"{time.monotonic() - started:.1f} s", last["amount"], "cyan")

    @contextmanager
    def _shown(self, number: int, label: str) -> Iterator[Callable[[Position], None]]:
        """Where positions go: to a bar, to lines or nowhere."""
        if self._console.is_terminal:
            with Bar(self._console, number, self.steps, label) as bar:
                yield bar.show
        elif os.environ.get(PROGRESS_LINES):
            yield self._lines()
        else:
            yield lambda position: None

    def _lines(self) -> Callable[[Position], None]:
        due = 0.0

        def write(position: Position) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + SECONDS_BETWEEN_LINES
                self._console.file.write(position.as_line())
                self._console.file.flush()

        return write

    def _line(self, number: int, label: str, status: str, detail: str, style: str) -> None:
        head = f"\\[{number:>{self._width}}/{self.steps}] {label:<{self._label_width}}"
        self._console.print(f"{head} [{style}]{status:>12}[/]  [dim]{detail}[/dim]", highlight=False)
