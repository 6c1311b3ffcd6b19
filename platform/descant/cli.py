"""The command line: plan, run, look at and export results."""

import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from descant import __version__
from descant.artifacts.store import Store, repair, store_root, verify
from descant.core.errors import ConfigError, DescantError, IntegrityError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="descant",
    help="Fine-tune retrievers with in-context examples on Ray. Start with: descant plan RECIPE",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
registry_app = typer.Typer(
    help="Registered models: list, show, compare, promote, pull. A version is named models:/NAME@ALIAS or "
    "models:/NAME/NUMBER; the alias champion is the version that a paired test let through.",
    no_args_is_help=True,
)
app.add_typer(registry_app, name="registry")

RecipePath = Annotated[
    Path, typer.Argument(help="A recipe, for example jobs/recipes/finetune_retriever/smoke.yaml")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting: --set training.learning_rate=1e-4")
]
ComputePath = Annotated[
    Path | None, typer.Option("--compute", help="A compute profile, for example clusters/local/compute.yaml")
]
StorePath = Annotated[
    Path | None, typer.Option("--store", help="Where results live (default: DESCANT_STORE or ./.descant)")
]


def _sources(incomplete: str) -> list[str]:
    """What the shell offers after ``models:/``; read from the store's database, since TAB must not take seconds."""
    from descant.run.completion import sources

    return sources(store_root(), incomplete)


SOURCE_HELP = (
    "models:/NAME@champion, or models:/NAME/3 for a version by its number (see: descant registry list)"
)
Source = Annotated[str, typer.Argument(help=SOURCE_HELP, autocompletion=_sources)]


@app.command()
def plan(
    recipe: RecipePath, set_: Settings = None, compute: ComputePath = None, store: StorePath = None
) -> None:
    """Show every step of a recipe, its address and whether it is done. Starts nothing."""
    from descant.run.compare.comparison import Comparison, cells_line, check_cells
    from descant.run.job import load_recipe
    from descant.run.plan import make_plan, plan_table
    from descant.run.profile import load_profile

    loaded = load_recipe(recipe, set_ or ())
    profile = load_profile(compute)
    planned = make_plan(loaded.job, _store(store), profile)
    if isinstance(loaded.job, Comparison):
        check_cells(loaded.job, profile)
    console = _console()
    console.print(plan_table(planned))
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


@app.command()
def run(
    recipe: RecipePath,
    set_: Settings = None,
    compute: ComputePath = None,
    store: StorePath = None,
    accept_drift: Annotated[
        bool,
        typer.Option(
            "--accept-drift", help="Begin anew although an unfinished training of this recipe exists"
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make the new version champion although no test says it is better")
    ] = False,
) -> None:
    """Run what is missing of a recipe. The same command resumes after any interruption."""
    from descant.run.main import run_recipe

    run_recipe(
        recipe,
        overrides=set_ or (),
        compute=compute,
        store=_store(store),
        console=_console(),
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
    store: StorePath = None,
) -> None:
    """Tune several methods with equal budgets, score the best settings with seeds, and say what differs.

    Every finished trial is kept: after Ctrl-C, a kill or a crash the same command goes on where it was.
    """
    from descant.run.compare.main import compare as run_comparison

    run_comparison(recipe, overrides=set_ or (), compute=compute, store=_store(store), console=_console())


@app.command()
def show(
    fingerprint: Annotated[
        str | None, typer.Argument(help="A result, by the start of its fingerprint")
    ] = None,
    store: StorePath = None,
) -> None:
    """List all results, or show one with everything it was made from."""
    from descant.run.show import result_page, results_table

    where = _store(store)
    _console().print(results_table(where) if fingerprint is None else result_page(where, fingerprint))


@app.command(name="verify")
def verify_(
    fingerprint: Annotated[str | None, typer.Argument(help="A result; all of them if left out")] = None,
    store: StorePath = None,
    repair_: Annotated[
        bool,
        typer.Option("--repair", help="Withdraw damaged parts so that running again rebuilds only those"),
    ] = False,
) -> None:
    """Hash stored results again and compare them with their manifests."""
    where = _store(store)
    artifacts = list(where.all()) if fingerprint is None else [where.resolve(fingerprint)]
    console = _console()
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
            str(where.root),
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
    console = _console()
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
        str, typer.Option("--form", help="peft, merged or sentence-transformers")
    ] = "sentence-transformers",
    store: StorePath = None,
) -> None:
    """Write a registered model as a PEFT folder, a merged Hugging Face folder or for sentence-transformers."""
    from descant.run.export import export as export_folder
    from descant.run.main import NOISE
    from descant.run.quiet import noise_in
    from descant.run.registry import model_folder

    where = _store(store)
    with noise_in(where.root / NOISE):
        written = export_folder(model_folder(source, where), target, form)
    _console().print(f"wrote {written}", highlight=False)


@app.command()
def ui(
    port: Annotated[
        int, typer.Option("--port", help="Port on the loopback address", min=1, max=65535)
    ] = 5000,
    store: StorePath = None,
) -> None:
    """Open the MLflow pages of the store on http://127.0.0.1:PORT (Ctrl-C ends it)."""
    from descant.run.ui import serve

    where = _store(store)
    _console().print(f"MLflow of {where.root} on [bold]http://127.0.0.1:{port}[/bold]", highlight=False)
    serve(where.root, port)


@registry_app.command(name="list")
def registry_list(
    name: Annotated[str | None, typer.Argument(help="A model; all of them if left out")] = None,
    store: StorePath = None,
) -> None:
    """Every registered version with its scores and aliases."""
    from descant.run.registry import list_versions
    from descant.run.show import versions_table

    _console().print(versions_table(list_versions(_store(store), name)))


@registry_app.command(name="show")
def registry_show(source: Source, store: StorePath = None) -> None:
    """One version with its lineage: base, data, judgements, recipe or study, commit, digests and scores."""
    from descant.run.registry import show as find
    from descant.run.show import version_page

    _console().print(version_page(find(source, _store(store))))


@registry_app.command(name="compare")
def registry_compare(a: Source, b: Source, store: StorePath = None) -> None:
    """Test version A against version B on the examples both were judged on: difference, interval, p.

    Both must have been judged on the same task by the same measure; nothing is computed anew or changed.
    """
    from descant.run.paired import compare
    from descant.run.show import pairing_page

    _console().print(pairing_page(compare(a, b, _store(store))))


@registry_app.command(name="promote")
def registry_promote(source: Source, store: StorePath = None) -> None:
    """Make a version the champion although no test says it is better; who and when is recorded.

    Versions that a test finds better become champion by themselves when they are registered.
    """
    from descant.run.registry import promote

    version = promote(source, _store(store))
    _console().print(f"{version.uri} is the champion ({version.tags.get('promotion', '')})", highlight=False)


@registry_app.command(name="pull")
def registry_pull(
    source: Source,
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet")],
    store: StorePath = None,
) -> None:
    """Copy a version's folder, every file of the copy checked against the sha256 it was registered with.

    The base model is named in it, not copied; descant export writes a merged one.
    """
    from descant.run.registry import pull

    _console().print(f"wrote {pull(source, folder, _store(store))}", highlight=False)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop")] = False,
) -> None:
    """Options that stand before the command."""
    if version:
        _console().print(f"descant {__version__}", highlight=False)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors become one message and their exit code, the trace goes to a file."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(standalone_mode=False)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except DescantError as error:
        _fail(str(error), error.exit_code, error)
    except KeyboardInterrupt as error:
        _fail("interrupted; everything finished is kept, and the same command resumes", 130, error)
    except typer.Abort as error:
        _fail("aborted", 130, error)
    except Exception as error:  # the last line before the user: a message and a file instead of a traceback
        usage = getattr(error, "format_message", None)
        if usage is not None:
            _fail(f"error[E-CLI-USAGE] command line: {usage()}. Nothing was started. See --help.", 2, error)
        _fail(
            f"error[E-BUG] {type(error).__name__}: {error}. This is a bug in descant: please report it",
            1,
            error,
        )


def _fail(message: str, code: int, error: BaseException) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, stderr=True)
    console.print(Text(_printable(message)))
    if code not in (2, 130):
        path = _trace_file(code)
        if path is not None:
            path.write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
            console.print(Text(f"(the trace is in {path})", style="dim"))
    sys.exit(code)


def _printable(message: str) -> str:
    """``message`` with everything that could steer a terminal, or not be encoded, written as an escape."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in message
    )


def _trace_file(code: int) -> Path | None:
    """In the store; where there is none, a temporary file for our own bugs and nothing for the rest."""
    folder = store_root()
    if folder.is_dir() and os.access(folder, os.W_OK):
        return folder / "last-error.txt"
    if code != 1:
        return None
    descriptor, path = tempfile.mkstemp(prefix="descant-error-", suffix=".txt")
    os.close(descriptor)
    return Path(path)


def _store(path: Path | None) -> Store:
    if path is not None:
        os.environ["DESCANT_STORE"] = str(path)  # a trace is left in the same store
    return Store(store_root())


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=120)


if __name__ == "__main__":
    main()
