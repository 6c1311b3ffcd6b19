"""The headline table of a report for two places without HTML: Markdown files and the terminal."""

import re
from typing import TYPE_CHECKING

from descant.core.measures import measure
from descant.evaluators.statistics import p_text
from descant.stages.report_content import Content, shown, signed

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"better": "green", "worse": "red", "no difference shown": "dim"}


def markdown_report(content: Content) -> str:
    """Headline sentences, systems by measures, comparisons, warnings and method as Markdown."""
    lines = [f"# {_escaped(content.title)}", "", *_headlines(content), ""]
    if content.warnings:
        lines += [*(f"> **Note:** {_escaped(warning)}" for warning in content.warnings), ""]
    lines += [*_means(content), "", *_comparisons(content), ""]
    if content.training:
        lines += [*_training(content), ""]
    return "\n".join([*lines, content.method, ""])


def terminal_table(content: Content) -> "Table":
    """Systems by measures: mean, 95 % interval, and the difference from the baseline in its verdict's colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(content.title), box=None, header_style="bold", title_justify="left")
    table.add_column("system")
    for name in content.measures:
        table.add_column(measure(name).label, justify="right")
        table.add_column(f"against {content.baseline}".replace("[", "\\["))
    for evaluation in content.evaluations:
        cells = [Text(evaluation.system)]
        for name in content.measures:
            difference = content.against_baseline(evaluation.system, name)
            cells.append(Text(_mean(content, evaluation.system, name)))
            cells.append(Text())
            if difference is not None:
                words = f"{signed(difference.mean)} {difference.verdict} ({p_text(difference.p_value)})"
                cells[-1] = Text(words, style=_STYLES[difference.verdict])
        table.add_row(*cells)
    return table


def _mean(content: Content, system: str, name: str) -> str:
    evaluation = next(e for e in content.evaluations if e.system == system)
    low, high = content.intervals[system, name]
    return f"{evaluation.mean(name):.3f} [{low:.3f}, {high:.3f}]"


def _headlines(content: Content) -> list[str]:
    first = content.measures[0]
    return [
        f"- **{_escaped(c.system)}**: {_escaped(c.sentence)}."
        for c in content.comparisons
        if c.measure == first
    ]


def _means(content: Content) -> list[str]:
    rows = [
        [e.system, *(_mean(content, e.system, name) for name in content.measures)]
        for e in content.evaluations
    ]
    return _table(["system", *(measure(name).label for name in content.measures)], rows)


def _comparisons(content: Content) -> list[str]:
    headings = [
        "system",
        "against",
        "measure",
        "difference",
        "95 % interval",
        "p",
        "verdict",
        "wins / ties / losses",
    ]
    rows = []
    for c in content.comparisons:
        found = c.difference
        interval = f"[{signed(found.interval.low)}, {signed(found.interval.high)}]"
        counts = f"{found.wins} / {found.ties} / {found.losses}"
        p_value = p_text(found.p_value).removeprefix("p ").removeprefix("= ")
        rows.append(
            [
                c.system,
                c.baseline,
                measure(c.measure).label,
                signed(found.mean),
                interval,
                p_value,
                found.verdict,
                counts,
            ]
        )
    return _table(headings, rows)


def _training(content: Content) -> list[str]:
    names = list(dict.fromkeys(name for facts in content.training.values() for name in facts))
    rows = [
        [system, *(shown(facts.get(name)) for name in names)] for system, facts in content.training.items()
    ]
    return _table(["training", *names], rows)


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    return [f"| {' | '.join(map(_escaped, row))} |" for row in [headings, rule, *rows]]


def _escaped(text: str) -> str:
    """Text that Markdown and its HTML leave as it is, on one line."""
    one_line = " ".join(text.split())
    return (
        re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", one_line) if not re.fullmatch(r"-+:?", one_line) else one_line
    )
