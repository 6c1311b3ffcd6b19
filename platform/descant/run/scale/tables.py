"""The answer to a question of scale as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from descant.run.scale.checkpoints import SECONDS_PER_HOUR, best_interval, effective_share, mttf_seconds
from descant.run.scale.estimate import Estimate, estimate, operations_per_second
from descant.run.scale.memory import held
from descant.run.scale.question import Figure, MeasuredTokens, Question, Throughput
from descant.run.scale.simulation import play
from descant.run.scale.storage import stored
from descant.run.show import human_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

CLUSTERS = (8, 64, 512, 4096, 16384)
"""Devices in the table of checkpoint intervals."""
LIVES, COPIES, SEED = 200, 100, 0
"""Each of its rows plays 100 jobs through, 200 times the time between failures long: about 20,000 failures."""


def scale_page(question: Question) -> Iterator[RenderableType]:
    """Time, memory, storage, cost, failures, and the rates they were made of; raises as ``estimate``."""
    from rich.text import Text

    found = estimate(question)
    corpus, encoder = question.corpus, question.encoder
    yield Text(question.title, style="bold")
    yield Text(
        f"{corpus.documents:,} documents, {question.queries.number:,} queries, "
        f"{encoder.parameters / 1e6:,.1f} million parameters, {encoder.width:,} dimensions, "
        f"{question.cluster.devices:,} devices\n"
    )
    yield stages_table(found)
    yield Text("")
    yield memory_table(question)
    yield Text("")
    yield storage_table(question)
    yield Text("\n" + "\n".join(_training_lines(found)) + "\n")
    yield checkpoint_table(question)
    yield Text("")
    yield rates_table(question)
    yield Text("\n" + _assumed_line(question))


def stages_table(found: Estimate) -> Table:
    """A line for each stage, and their sum; the largest of computing, moving and starting is named."""
    table = _table(
        "stage", "workers", "time", "saving, redone", "most of it is", "device-hours", "cost", "failures"
    )
    for stage in found.stages:
        parts = {"computing": stage.computing, "the store": stage.moving, "starting": stage.start}
        table.add_row(
            stage.name,
            f"{stage.workers:,}",
            duration(stage.seconds),
            duration(stage.redone),
            max(parts, key=lambda name: parts[name]),
            *_whole(found, stage.seconds),
        )
    redone = sum(stage.redone for stage in found.stages)
    table.add_row(
        "[bold]all[/bold]", "", duration(found.seconds), duration(redone), "", *_whole(found, found.seconds)
    )
    return table


def memory_table(question: Question) -> Table:
    """A line for each kind of process, and whether it fits."""
    table = _table("memory of one", "while it does", "needs", "there is", "fits", left=2)
    for one in held(question):
        table.add_row(
            one.where,
            one.what,
            human_bytes(one.num_bytes),
            human_bytes(one.limit),
            "yes" if one.fits else "[red]no[/red]",
        )
    return table


def storage_table(question: Question) -> Table:
    """A line for each kind of result, and their sum."""
    table = _table("in the store", "parts", "data", "manifest", "to list it")
    rows = stored(question)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.parts:,}",
            human_bytes(row.num_bytes),
            human_bytes(row.manifest_bytes),
            duration(row.listing),
        )
    table.add_row(
        "[bold]all[/bold]",
        f"{sum(row.parts for row in rows):,}",
        human_bytes(sum(row.num_bytes for row in rows)),
        human_bytes(sum(row.manifest_bytes for row in rows)),
        duration(sum(row.listing for row in rows)),
    )
    return table


def checkpoint_table(question: Question) -> Table:
    """The best interval and what is left of the time on clusters of several sizes, by formula and played through."""
    save, restart = question.rates.save_seconds.value, question.rates.restart_seconds.value
    table = _table(
        "devices",
        "a failure every",
        "save every",
        "useful",
        "played through",
        "ten times as rarely",
        "played through",
    )
    for devices in CLUSTERS:
        mttf = mttf_seconds(devices, question.rates.failures_per_device_hour.value)
        best = best_interval(save, mttf)
        shown = [f"{devices:,}", duration(mttf), duration(best)]
        for interval in (best, 10 * best):
            played = play(LIVES * mttf, interval, save, restart, mttf, runs=COPIES, seed=SEED)
            shown += [
                f"{effective_share(interval, save, restart, mttf):.3f}",
                f"{played.effective_share:.3f}",
            ]
        table.add_row(*shown)
    return table


def rates_table(question: Question) -> Table:
    """Every rate, how well it is known, and where it comes from."""
    table = _table("rate", "value", "known", "from", left=1)
    table.columns[2].justify = table.columns[3].justify = "left"
    for name in type(question.rates).model_fields:
        rate: Figure | Throughput = getattr(question.rates, name)
        value = _number(rate.value) if isinstance(rate, Figure) else _speed(question, rate)
        known = f"[yellow]{rate.kind}[/yellow]" if rate.kind == "assumed" else rate.kind
        table.add_row(name.replace("_", " "), value, known, rate.origin)
    return table


def duration(seconds: float) -> str:
    """With a unit of at least one: ``38 s``, ``4.6 min``, ``2.1 h``, ``12 days``."""
    for unit, length, most in (("s", 1.0, 90.0), ("min", 60.0, 90.0), ("h", SECONDS_PER_HOUR, 48.0)):
        if seconds < most * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / (24 * SECONDS_PER_HOUR):,.1f} days"


def _training_lines(found: Estimate) -> Sequence[str]:
    saved = found.checkpointing
    most = duration(sorted(saved.played.seconds)[int(0.95 * len(saved.played.seconds))])
    formula = f" (by the formula {saved.formula:.3f})" if saved.formula is not None else ""
    when = "at its end" if saved.formula is None else f"every {saved.steps_between:,} steps"
    return [
        f"training: {saved.steps:,} steps, {duration(saved.played.work)} of work; on these devices a failure every "
        f"{duration(saved.mttf)}",
        f"save {when} ({duration(saved.interval)}): {saved.played.effective_share:.3f} of the time is useful{formula}; "
        f"95 of 100 such trainings end within {most}",
    ]


def _speed(question: Question, rate: Throughput) -> str:
    """Tokens a second of this encoder, on texts as long as the corpus's."""
    speed, training = operations_per_second(rate), question.training
    how = (
        (training.trained, training.gradient_checkpointing) if rate is question.rates.train else ("nothing",)
    )
    tokens = speed / question.encoder.operations(question.corpus.tokens, *how)
    return f"{tokens:,.0f} tokens/s\n{speed / 1e12:.3g} TFLOP/s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _assumed_line(question: Question) -> str:
    rates = [getattr(question.rates, name) for name in type(question.rates).model_fields]
    assumed = [rate for rate in rates if rate.kind == "assumed"]
    scaled = any(isinstance(rate, MeasuredTokens) for rate in rates)
    how = (
        "Speeds seen on another encoder or length are scaled by the operations of a token. "
        if scaled
        else "Tokens a second are the share of the peak over the operations of a token. "
    )
    return f"{how}{len(assumed)} of {len(rates)} rates are assumed: put your own figures in their place."


def _whole(found: Estimate, seconds: float) -> tuple[str, str, str]:
    return (
        f"{found.device_hours(seconds):,.2f}",
        f"{found.cost(seconds):,.2f}",
        f"{found.failures(seconds):.3g}",
    )


def _table(*headings: str, left: int = 1) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < left else "right", overflow="fold")
    return table
