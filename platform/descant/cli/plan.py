"""The command that shows what would be done: ``descant plan``."""

from pathlib import Path
from typing import Annotated

import typer

from descant.cli.jobs import ClusterName
from descant.cli.on_cluster import print_on_cluster
from descant.cli.options import ComputePath, Settings, StorePlace, store_at, terminal
from descant.cli.scale import ScalePath, print_scale
from descant.core.errors import ConfigError


def plan(
    recipe: Annotated[
        Path | None, typer.Argument(help="A recipe, for example jobs/recipes/finetune_retriever/smoke.yaml")
    ] = None,
    set_: Settings = None,
    compute: ComputePath = None,
    store: StorePlace = None,
    cluster: ClusterName | None = None,
    scale: ScalePath = None,
) -> None:
    """Show every step of a recipe, its address and whether it is done. Starts nothing.

    With --cluster also what the steps ask of it, what it has, and the memory of their workers.
    With --scale and a file instead of a recipe: what a job of that size would take on that cluster.
    """
    if scale is not None and (recipe, compute, store, cluster) == (None, None, None, None):
        print_scale(scale, set_ or ())
        return
    if scale is not None or recipe is None:
        raise ConfigError(
            "E-CLI-PLAN",
            "descant plan",
            "expected a recipe, or --scale FILE without a recipe, --compute, --store and --cluster",
            "Nothing was started. See descant plan --help.",
        )
    from descant.run.clusters.reach import reach
    from descant.run.compare.comparison import Comparison, cells_line, check_cells
    from descant.run.job import load_recipe
    from descant.run.plan import make_plan, plan_table
    from descant.run.profile import load_profile

    loaded = load_recipe(recipe, set_ or ())
    reached = None if cluster is None else reach(cluster)
    profile = load_profile(compute) if reached is None else reached.compute(compute)
    planned = make_plan(loaded.job, store_at(store), profile)
    if isinstance(loaded.job, Comparison):
        check_cells(loaded.job, profile)
    console = terminal()
    if reached is None:
        console.print(plan_table(planned))
    else:
        print_on_cluster(loaded.job, planned, profile, reached, store_at(store), console)
    missing = len(planned.missing)
    if isinstance(loaded.job, Comparison):
        console.print(
            f"\nthen {cells_line(loaded.job)}: [bold]descant compare {recipe}[/bold]",
            highlight=False,
            soft_wrap=True,
        )
        return
    console.print(
        f"\n{len(planned.steps) - missing} of {len(planned.steps)} steps are done"
        + (f"; [bold]descant run {recipe}[/bold] does the other {missing}" if missing else "")
    )
