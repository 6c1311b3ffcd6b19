"""The commands about registered models: ``descant registry``."""

from pathlib import Path
from typing import Annotated

import typer

from descant.artifacts.store import store_root
from descant.cli.options import StorePlace, store_at, terminal

registry_app = typer.Typer(
    help="Registered models: list, show, compare, promote, pull. A version is named models:/NAME@ALIAS or "
    "models:/NAME/NUMBER; the alias champion is the version that a paired test let through.",
    no_args_is_help=True,
)


def _sources(incomplete: str) -> list[str]:
    """What the shell offers after ``models:/``; read from the store's database, since TAB must not take seconds."""
    from descant.artifacts.store import Store
    from descant.run.completion import sources

    return sources(Store(store_root()).root, incomplete)


SOURCE_HELP = (
    "models:/NAME@champion, or models:/NAME/3 for a version by its number (see: descant registry list)"
)
Source = Annotated[str, typer.Argument(help=SOURCE_HELP, autocompletion=_sources)]


@registry_app.command(name="list")
def registry_list(
    name: Annotated[str | None, typer.Argument(help="A model; all of them if left out")] = None,
    store: StorePlace = None,
) -> None:
    """Every registered version with its scores and aliases."""
    from descant.run.registry import list_versions
    from descant.run.show import versions_table

    terminal().print(versions_table(list_versions(store_at(store), name)))


@registry_app.command(name="show")
def registry_show(source: Source, store: StorePlace = None) -> None:
    """One version with its lineage: base, data, judgements, recipe or study, commit, digests and scores."""
    from descant.run.registry import show as find
    from descant.run.show import version_page

    terminal().print(version_page(find(source, store_at(store))))


@registry_app.command(name="compare")
def registry_compare(a: Source, b: Source, store: StorePlace = None) -> None:
    """Test version A against version B on the examples both were judged on: difference, interval, p.

    Both must have been judged on the same task by the same measure; nothing is computed anew or changed.
    """
    from descant.run.paired import compare
    from descant.run.show import pairing_page

    terminal().print(pairing_page(compare(a, b, store_at(store))))


@registry_app.command(name="promote")
def registry_promote(source: Source, store: StorePlace = None) -> None:
    """Make a version the champion although no test says it is better; who and when is recorded.

    Versions that a test finds better become champion by themselves when they are registered.
    """
    from descant.run.registry import promote

    version = promote(source, store_at(store))
    terminal().print(f"{version.uri} is the champion ({version.tags.get('promotion', '')})", highlight=False)


@registry_app.command(name="pull")
def registry_pull(
    source: Source,
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet")],
    store: StorePlace = None,
) -> None:
    """Copy a version's folder, every file of the copy checked against the sha256 it was registered with.

    The base model is named in it, not copied; descant export writes a merged one.
    """
    from descant.run.registry import pull

    terminal().print(f"wrote {pull(source, folder, store_at(store))}", highlight=False)
