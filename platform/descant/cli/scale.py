"""What ``descant plan --scale`` shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from descant.cli.options import terminal

ScalePath = Annotated[
    Path | None,
    typer.Option("--scale", help="A question of scale, for example clusters/scale/ms_marco_7b.yaml"),
]


def print_scale(path: Path, overrides: Sequence[str]) -> None:
    """The tables of one question; raises what reading and estimating it raises."""
    from descant.run.scale.question import load_question
    from descant.run.scale.tables import scale_page

    console = terminal()
    for part in scale_page(load_question(path, overrides)):
        console.print(part, highlight=False)
