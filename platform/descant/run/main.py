"""From a recipe file to results: validate, plan, run what is missing, register, and say what came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.store import Store
from descant.core.errors import ConfigError
from descant.core.fingerprint import canonical
from descant.run.compare.comparison import Comparison
from descant.run.conclude import register_result, registered_before
from descant.run.drift import find_drift
from descant.run.execute import execute
from descant.run.job import Recipe, Results, load_recipe
from descant.run.plan import Plan, make_plan
from descant.run.profile import load_profile
from descant.run.progress import Display
from descant.run.quiet import noise_in
from descant.run.tracking import Tracker, send_spooled

if TYPE_CHECKING:
    from rich.console import Console

NOISE = "last-run.log"
"""In the store: what Ray, DeepSpeed and MLflow wrote to standard error."""


def run_recipe(
    path: Path,
    *,
    overrides: Sequence[str],
    compute: Path | None,
    store: Store,
    console: "Console",
    accept_drift: bool,
    force: bool,
) -> Results:
    """Run what is missing of the recipe at ``path`` and print its summary.

    Raises a DescantError for everything a user can mend; whatever was finished stays.
    """
    recipe = load_recipe(path, overrides)
    if isinstance(recipe.job, Comparison):
        raise ConfigError(
            "E-RUN-JOB", str(path), "is a comparison", f"Nothing was started. Run: descant compare {path}"
        )
    profile = load_profile(compute)
    plan = make_plan(recipe.job, store, profile)
    drift = find_drift(plan, recipe, store)
    if drift is not None and not accept_drift:
        raise drift.refused(recipe)
    display = Display(console, len(plan.steps), [item.step.label for item in plan.steps])
    console.print(
        f"[bold]{recipe.job_name}[/bold] {recipe.path}  "
        f"[dim]{len(plan.steps)} steps, {len(plan.steps) - len(plan.missing)} done before; store {store.place}[/dim]",
        highlight=False,
    )
    if not plan.missing and (registered_before(recipe, plan, store) and not force):
        results = _all_cached(plan, store, display)
        spooled = send_spooled(store.root)
    else:
        with (
            noise_in(store.root / NOISE),
            Tracker.open(store.root).job(recipe.job_name, canonical(recipe.job), recipe.text) as tracked,
        ):
            if drift is not None:
                tracked.tags(drift.tags)
                console.print(
                    f"[yellow]begun anew[/yellow]  {drift.unfinished} stays unfinished ({drift.changes})"
                )
            results = execute(plan, recipe, store, profile, tracked, display)
            register_result(recipe, results, plan, tracked, force=force)
        spooled = tracked.spooled
    console.print()
    for renderable in recipe.job.summary(results):
        console.print(renderable)
    _say_where(recipe, plan, store, console)
    say_where(console, spooled)
    return results


def _all_cached(plan: Plan, store: Store, display: Display) -> Results:
    artifacts = {}
    for number, item in enumerate(plan.steps, start=1):
        assert item.artifact is not None
        store.tidy(item.artifact)
        display.cached(number, item.step.label, item.artifact)
        display.finding(item.step.stage.finding(item.artifact.manifest.facts))
        artifacts[item.step.fingerprint] = item.artifact
    return Results(store, {name: artifacts[step.fingerprint] for name, step in plan.targets.items()})


def _say_where(recipe: Recipe, plan: Plan, store: Store, console: "Console") -> None:
    """The registered version and the one command that opens the MLflow pages."""
    done = registered_before(recipe, plan, store)
    if done is not None and recipe.job.registration() is not None:
        console.print(
            f"registered  {done.manifest.facts['uri']}  [dim]({done.manifest.facts['promotion']})[/dim]"
        )


def say_where(console: "Console", spooled: int) -> None:
    """The one command that opens the MLflow pages, and how many records have not reached it."""
    console.print("runs        [bold]descant ui[/bold] opens the MLflow pages", highlight=False)
    if spooled:
        console.print(
            f"[yellow]{spooled} records spooled[/yellow]  MLflow did not take them; "
            "they are sent by the next descant command",
            highlight=False,
        )
