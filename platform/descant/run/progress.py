"""What a person sees while a job runs: one line per step, with parts, rate and time left."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from descant.artifacts.store import Artifact
from descant.stages.base import Progress

if TYPE_CHECKING:
    from rich.console import Console


LABEL_WIDTH = 34
"""Least width of the column of labels."""


class Display:
    """Progress on a terminal as live bars; elsewhere one plain line per finished step, of which there are ``steps``.

    ``labels`` decide how wide their column is.
    """

    def __init__(self, console: "Console", steps: int, labels: Iterable[str]) -> None:
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
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        started = time.monotonic()
        columns = (
            TextColumn(f"[{number:>{self._width}}/{self.steps}] {{task.description}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        last = {"amount": ""}
        live = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        with live:
            task = live.add_task(label, total=None, amount="")

            def report(done: float, total: float, unit: str, note: str = "") -> None:
                rate = done / max(time.monotonic() - started, 1e-3)
                last["amount"] = f"{done:,.0f} {unit}"
                amount = f"{done:,.0f}/{total:,.0f} {unit}  {rate:,.1f}/s  {note}"
                live.update(task, completed=done, total=total, amount=amount)

            yield report
        seconds = time.monotonic() - started
        self._line(number, label, f"{seconds:.1f} s", last["amount"], "cyan")

    def _line(self, number: int, label: str, status: str, detail: str, style: str) -> None:
        head = f"\\[{number:>{self._width}}/{self.steps}] {label:<{self._label_width}}"
        self._console.print(f"{head} [{style}]{status:>12}[/]  [dim]{detail}[/dim]", highlight=False)
