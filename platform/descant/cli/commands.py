"""The commands of ``descant``; each imports what it needs when it is called, so that --help is quick."""

from pathlib import Path
from typing import Annotated

import typer

from descant import __version__
from descant.artifacts.verify import repair, verify
from descant.cli.cluster import cluster_app
from descant.cli.doctor import doctor
from descant.cli.jobs import jobs_app, submit
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
from descant.cli.plan import plan
from descant.cli.registry import registry_app
from descant.core.errors import ConfigError, IntegrityError

app = typer.Typer(
    name="descant",
    help="Adapt, compare and evaluate retrievers and language models on Ray. Start with: descant plan RECIPE",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(registry_app, name="registry")
app.add_typer(cluster_app, name="cluster")
app.add_typer(jobs_app, name="jobs")


app.command()(plan)


@app.command()
def run(
    recipe: RecipePath,
    set_: Settings = None,
    compute: ComputePath = None,
    store: StorePlace = None,
    accept_drift: AcceptDrift = False,
    force: Force = False,
) -> None:
    """Run what is missing of a recipe. The same command resumes after any interruption."""
    from descant.run.main import run_recipe

    run_recipe(
        recipe,
        overrides=set_ or (),
        compute=compute,
        store=store_at(store),
        console=terminal(),
        accept_drift=accept_drift,
        force=force,
    )


@app.command()
def compare(
    recipe: Annotated[
        Path, typer.Argument(help="A comparison, for example jobs/recipes/compare_adapters/smoke.yaml")
    ],
    set_: Settings = None,
    compute: ComputePath = None,
    store: StorePlace = None,
) -> None:
    """Tune several methods with equal budgets, score the best settings with seeds, and say what differs.

    Every finished trial is kept: after Ctrl-C, a kill or a crash the same command goes on where it was.
    """
    from descant.run.compare.main import compare as run_comparison

    run_comparison(recipe, overrides=set_ or (), compute=compute, store=store_at(store), console=terminal())


app.command()(submit)
app.command()(doctor)


@app.command()
def show(
    fingerprint: Annotated[
        str | None, typer.Argument(help="A result, by the start of its fingerprint")
    ] = None,
    store: StorePlace = None,
) -> None:
    """List all results, or show one with everything it was made from."""
    from descant.run.show import result_page, results_table

    where = store_at(store)
    terminal().print(results_table(where) if fingerprint is None else result_page(where, fingerprint))


@app.command(name="verify")
def verify_(
    fingerprint: Annotated[str | None, typer.Argument(help="A result; all of them if left out")] = None,
    store: StorePlace = None,
    repair_: Annotated[
        bool,
        typer.Option("--repair", help="Withdraw damaged parts so that running again rebuilds only those"),
    ] = False,
) -> None:
    """Hash stored results again and compare them with their manifests."""
    where = store_at(store)
    artifacts = list(where.all()) if fingerprint is None else [where.resolve(fingerprint)]
    console = terminal()
    problems = []
    for artifact in artifacts:
        found = verify(artifact)
        problems += [f"{artifact.address}: {problem}" for problem in found]
        mark = "[red]damaged[/red]" if found else "[green]ok[/green]"
        console.print(
            f"{artifact.address:<32} {len(artifact.manifest.parts):>5} parts  {mark}", highlight=False
        )
        if found and repair_:
            withdrawn = repair(artifact)
            console.print(
                f"  withdrew {', '.join(withdrawn)}; run the recipe again to rebuild", highlight=False
            )
    if problems and not repair_:
        raise IntegrityError(
            "E-ART-DIGEST",
            where.place,
            "\n  ".join([f"{len(problems)} problems", *problems]),
            "Nothing was changed. Add --repair, then run the recipe again.",
        )


@app.command()
def explain(
    job: Annotated[str | None, typer.Argument(help="A job, for example finetune_retriever")] = None,
) -> None:
    """Every setting of a job: its type, default and meaning."""
    from descant.run.explain import explain_job
    from descant.run.job import job_table

    table = job_table(Path.cwd() / "jobs" / "recipes")
    console = terminal()
    if job is None:
        for name, cls in table.items():
            console.print(f"[bold]{name}[/bold]  {(cls.__doc__ or '').strip().splitlines()[0]}")
        return
    if job not in table:
        raise ConfigError(
            "E-CFG-JOB", job, f"no such job; there are {', '.join(table)}", "Nothing was changed."
        )
    console.print(explain_job(table[job]))


@app.command()
def export(
    source: Annotated[
        str, typer.Argument(help="models:/NAME@champion, models:/NAME/3, or a fingerprint of a training")
    ],
    target: Annotated[Path, typer.Argument(help="A folder that does not exist yet")],
    form: Annotated[
        str, typer.Option("--form", help="peft, merged or sentence-transformers; a language model: merged")
    ] = "sentence-transformers",
    store: StorePlace = None,
) -> None:
    """Write a registered model as a PEFT folder, a merged Hugging Face folder or for sentence-transformers."""
    from descant.run.export import export as export_folder
    from descant.run.main import NOISE
    from descant.run.quiet import noise_in
    from descant.run.registry import model_folder

    where = store_at(store)
    with noise_in(where.root / NOISE):
        written = export_folder(model_folder(source, where), target, form)
    terminal().print(f"wrote {written}", highlight=False)


@app.command()
def ui(
    port: Annotated[
        int, typer.Option("--port", help="Port on the loopback address", min=1, max=65535)
    ] = 5000,
    store: StorePlace = None,
) -> None:
    """Open the MLflow pages of the store on http://127.0.0.1:PORT (Ctrl-C ends it)."""
    from descant.run.ui import serve

    where = store_at(store)
    terminal().print(f"MLflow of {where.place} on [bold]http://127.0.0.1:{port}[/bold]", highlight=False)
    serve(where.root, port)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop")] = False,
) -> None:
    """Options that stand before the command."""
    if version:
        terminal().print(f"descant {__version__}", highlight=False)
        raise typer.Exit
