"""What several commands share: the arguments, the store they name and the console they print to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from descant.artifacts.store import Store, store_root

if TYPE_CHECKING:
    from rich.console import Console

RecipePath = Annotated[
    Path, typer.Argument(help="A recipe, for example jobs/recipes/finetune_retriever/smoke.yaml")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting: --set training.learning_rate=1e-4")
]
ComputePath = Annotated[
    Path | None, typer.Option("--compute", help="A compute profile, for example clusters/local/compute.yaml")
]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PLACE",
        help="Where results live: a folder or s3://bucket/prefix (default: DESCANT_STORE or ./.descant)",
    ),
]
AcceptDrift = Annotated[
    bool,
    typer.Option("--accept-drift", help="Begin anew although an unfinished training of this recipe exists"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Make the new version champion although no test says it is better")
]


def store_at(place: str | None) -> Store:
    """The store a command was given, or else the one of the environment or the folder.

    What runs elsewhere finds it in the environment: traces, and workers in folders of their own that read its models.
    """
    store = Store(store_root() if place is None else place)
    os.environ["DESCANT_STORE"] = store.place
    return store


def terminal() -> "Console":
    """The terminal; 120 columns where the output goes to a file."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=120)
