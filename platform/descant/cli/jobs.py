"""The commands about jobs on clusters: ``descant submit`` and ``descant jobs``."""

from typing import TYPE_CHECKING, Annotated

import typer

from descant.cli.options import (
    AcceptDrift,
    ComputePath,
    Force,
    RecipePath,
    Settings,
    StorePlace,
    store_at,
    terminal,
)

if TYPE_CHECKING:
    from descant.run.clusters.jobs import SubmittedJob
    from descant.run.clusters.reach import Cluster

jobs_app = typer.Typer(
    help="Jobs on a cluster: list them, follow their logs, stop them.", no_args_is_help=True
)


def _names(incomplete: str) -> list[str]:
    from descant.run.clusters.names import cluster_names

    return [name for name in cluster_names() if name.startswith(incomplete)]


ClusterName = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="local (descant cluster up local), or a folder with a cluster.yaml",
        autocompletion=_names,
    ),
]
JobId = Annotated[str, typer.Argument(help="A job, by the start of its id")]


def submit(
    recipe: RecipePath,
    set_: Settings = None,
    cluster: ClusterName = "local",
    compute: ComputePath = None,
    store: StorePlace = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the log")] = False,
    accept_drift: AcceptDrift = False,
    force: Force = False,
) -> None:
    """Run a recipe on a cluster, through its Jobs API, and follow the log.

    The code and the recipe travel with it. Submitting again finds the same job; one that failed or was stopped goes
    on where it was. Ctrl-C leaves the job running. Ends with the exit code of the job.
    """
    from descant.run.clusters.reach import reach
    from descant.run.clusters.submission import submit as submit_to

    reached = reach(cluster)
    loaded = reached.recipe(recipe, set_ or ())
    options = [name for name, given in (("--accept-drift", accept_drift), ("--force", force)) if given]
    where = store_on(reached, store)
    console = terminal()
    with console.status("submitting …"):
        submitted = submit_to(reached, loaded, where, reached.compute(compute), options)
    job = submitted.job
    console.print(
        f"job [bold]{job.id}[/bold] "
        + ("submitted" if submitted.is_new else f"was submitted before: {job.state}"),
        highlight=False,
    )
    if detach:
        console.print(_ways_back(cluster, job), highlight=False)
    else:
        _follow(reached, job)


@jobs_app.command(name="list")
def list_(cluster: ClusterName = "local") -> None:
    """All jobs that were submitted, the latest first."""
    from descant.run.clusters.jobs import jobs_table, list_jobs
    from descant.run.clusters.reach import reach

    found = list_jobs(reach(cluster).api)
    terminal().print(jobs_table(found) if found else "no jobs yet")


@jobs_app.command()
def status(job: JobId, cluster: ClusterName = "local") -> None:
    """One job: its state, when it began, how long it took, and what it says."""
    from descant.run.clusters.jobs import find_job, jobs_table
    from descant.run.clusters.reach import reach

    found = find_job(reach(cluster).api, job)
    console = terminal()
    console.print(jobs_table([found]))
    console.print(found.message, highlight=False, markup=False, soft_wrap=True)


@jobs_app.command()
def logs(
    job: JobId,
    cluster: ClusterName = "local",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until the job ends; Ctrl-C leaves it running")
    ] = False,
) -> None:
    """What a job has written."""
    from descant.run.clusters.follow import print_log
    from descant.run.clusters.jobs import find_job
    from descant.run.clusters.reach import reach

    reached = reach(cluster)
    found = find_job(reached.api, job)
    if follow:
        _follow(reached, found)
    else:
        print_log(reached.api, found, terminal())


@jobs_app.command()
def stop(job: JobId, cluster: ClusterName = "local") -> None:
    """Stop a job. What it finished is kept, and submitting the recipe again goes on there."""
    from descant.run.clusters.jobs import find_job, stop_job
    from descant.run.clusters.reach import reach

    api = reach(cluster).api
    found = find_job(api, job)
    stopped = stop_job(api, found)
    was = "had ended already: " if found.has_ended else ""
    terminal().print(f"job [bold]{stopped.id}[/bold] {was}{stopped.state}", highlight=False)


def store_on(cluster: "Cluster", place: str | None) -> str:
    """Where results of the cluster's jobs live: what was given, else what its description says, else ours."""
    return cluster.store if place is None and cluster.store is not None else store_at(place).place


def _follow(cluster: "Cluster", job: "SubmittedJob") -> None:
    """Show the log until the job ends, and end as it did."""
    from descant.run.clusters.follow import follow

    console = terminal()
    try:
        ended = follow(cluster.api, job, console)
    except KeyboardInterrupt:
        console.print(f"\njob [bold]{job.id}[/bold] goes on without us", highlight=False)
        console.print(_ways_back(cluster.name, job), highlight=False)
        raise typer.Exit(130) from None
    console.print(f"job [bold]{ended.id}[/bold] {ended.state}", highlight=False)
    if ended.state != "succeeded":
        raise typer.Exit(ended.exit_code or 1)


def _ways_back(cluster: str, job: "SubmittedJob") -> str:
    where = "" if cluster == "local" else f" --cluster {cluster}"
    return f"follow it: descant jobs logs -f {job.id}{where}\nstop it:   descant jobs stop {job.id}{where}"
