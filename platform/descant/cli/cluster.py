"""The commands about clusters: ``descant cluster``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from descant.cli.options import ComputePath, RecipePath, terminal

cluster_app = typer.Typer(
    help="Clusters: start one on this machine, look at it, end it; write files for other clusters.",
    no_args_is_help=True,
)


class Name(StrEnum):
    """Clusters that descant starts itself."""

    local = "local"


Cluster = Annotated[Name, typer.Argument(help="local: a Ray on this machine that stays between commands")]


@cluster_app.command(name="up")
def cluster_up(name: Cluster, compute: ComputePath = None) -> None:
    """Start a Ray on this machine that stays, with token authentication; where it is up already, say so.

    Its dashboard and Jobs API are on the loopback address; Ray's other ports bind every interface, so a firewall has
    to keep others out.
    """
    from descant.run.clusters.local import up
    from descant.run.profile import load_profile

    console = terminal()
    with console.status("starting Ray …"):
        found, is_new = up(load_profile(compute).ray)
    console.print(
        f"cluster [bold]{name}[/bold] {'is up' if is_new else 'was up already'}: {found.url}",
        highlight=False,
    )
    console.print(f"token in {found.token}", highlight=False, soft_wrap=True)


@cluster_app.command(name="status")
def cluster_status(name: Cluster) -> None:
    """Its nodes, and how many jobs there are. Ends with 7 where it is not up."""
    from descant.core.errors import DependencyError
    from descant.run.clusters.local import find
    from descant.run.clusters.status import jobs_line, nodes_table, status_of

    found = find()
    if found is None:
        raise DependencyError(
            "E-CLU-DOWN", f"cluster {name}", "is not up", f"Start it with: descant cluster up {name}"
        )
    status = status_of(found.api)
    console = terminal()
    console.print(f"cluster [bold]{name}[/bold]  {found.url}  Ray {status.ray}", highlight=False)
    console.print(nodes_table(status))
    console.print(f"jobs: {jobs_line(status)}", highlight=False)


@cluster_app.command(name="down")
def cluster_down(name: Cluster) -> None:
    """End it, with every job on it; what jobs finished is kept, and the same commands go on."""
    from descant.run.clusters.local import down

    ended = down()
    terminal().print(
        f"cluster [bold]{name}[/bold] " + (f"is down: {ended} processes ended" if ended else "was not up"),
        highlight=False,
    )


@cluster_app.command(name="render")
def cluster_render(
    name: Annotated[str, typer.Argument(help="A folder in ./clusters, or a path, with a cluster.yaml")],
    recipe: RecipePath,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the files go (default: ./rendered/ and the folder's name)"),
    ] = None,
) -> None:
    """Write the files that run a recipe on Kubernetes, Slurm, AWS or Google Cloud; nothing is started or contacted.

    The files are held against the safety rules first. Ends with 6 and the names of the rules where they break any.
    """
    from descant.run.clusters.render.render import next_command, render, write
    from descant.run.clusters.render.spec import find_folder

    folder = find_folder(name)
    files = render(folder, recipe)
    target = Path("rendered", folder.resolve().name) if out is None else out
    write(files, target)
    console = terminal()
    for file in files:
        console.print(f"wrote {target / file}", highlight=False, markup=False)
    console.print(f"next: {next_command(folder, target)}", highlight=False, markup=False, soft_wrap=True)
