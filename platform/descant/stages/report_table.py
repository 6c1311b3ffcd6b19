"""The headline table of a report for two places without HTML: Markdown files and the terminal."""

import re
from typing import TYPE_CHECKING

from descant.core.measures import measure
from descant.evaluators.evaluation import Evaluation
from descant.evaluators.statistics import p_text
from descant.stages.report_content import Comparison, Content, shown, signed

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"better": "green", "worse": "red", "no difference shown": "dim"}


def markdown_report(content: Content) -> str:
    """Headline sentences, systems by measures, comparisons, warnings and method as Markdown."""
    lines = [
        f"# {escaped(content.title)}",
        "",
        *(f"- **{escaped(c.system)}** {escaped(c.sentence)}." for c in _leading(content)),
        "",
    ]
    if content.warnings:
        lines += ["**Before believing a number**", "", *(f"- {escaped(w)}" for w in content.warnings), ""]
    lines += [*_means(content), "", *_comparisons(content), ""]
    if content.training:
        lines += [*_training(content), ""]
    return "\n".join([*lines, content.method, ""])


def terminal_table(content: Content) -> "Table":
    """Systems by measures: mean, 95 % interval and the difference from the baseline, coloured by verdict.

    The caption says in words what the first measure shows.
    """
    from rich.table import Table
    from rich.text import Text

    caption = "\n".join(f"{c.system} {c.sentence}." for c in _leading(content))
    table = Table(
        title=Text(content.title), caption=Text(caption), box=None, header_style="bold", padding=(0, 3, 1, 0)
    )
    table.title_justify = table.caption_justify = "left"
    table.add_column("system")
    for name in content.measures:
        table.add_column(measure(name).label)
    for evaluation in content.evaluations:
        cells = [Text(f"{_mean(content, evaluation, name)}\n") for name in content.measures]
        for cell, name in zip(cells, content.measures, strict=True):
            difference = content.against_baseline(evaluation.system, name)
            if difference is not None:
                cell.append(signed(difference.mean), style=_STYLES[difference.verdict])
                cell.append(f" ({p_text(difference.p_value)})", style="dim")
        table.add_row(Text(evaluation.system), *cells)
    return table


def _mean(content: Content, evaluation: Evaluation, name: str) -> str:
    low, high = content.intervals[evaluation.system, name]
    return f"{evaluation.mean(name):.3f} [{low:.3f}, {high:.3f}]"


def _leading(content: Content) -> list[Comparison]:
    return [c for c in content.comparisons if c.measure == content.measures[0]]


def _means(content: Content) -> list[str]:
    rows = [[e.system, *(_mean(content, e, name) for name in content.measures)] for e in content.evaluations]
    return markdown_table(["system", *(measure(name).label for name in content.measures)], rows)


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
        found, (low, high) = c.difference, c.difference.interval
        names = [c.system, c.baseline, measure(c.measure).label]
        figures = [
            signed(found.mean),
            f"[{signed(low)}, {signed(high)}]",
            p_text(found.p_value),
            found.verdict,
        ]
        rows.append([*names, *figures, f"{found.wins} / {found.ties} / {found.losses}"])
    return markdown_table(headings, rows)


def _training(content: Content) -> list[str]:
    names = list(dict.fromkeys(name for facts in content.training.values() for name in facts))
    rows = [
        [system, *(shown(facts.get(name)) for name in names)] for system, facts in content.training.items()
    ]
    return markdown_table(["training", *names], rows)


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table; text on the left in the first column, numbers on the right in the others."""
    rule = "|".join(["", "---", *["---:"] * (len(headings) - 1), ""])
    first, *rest = [f"| {' | '.join(map(escaped, row))} |" for row in [headings, *rows]]
    return [first, rule, *rest]


def escaped(text: str) -> str:
    """Text that Markdown, and HTML within it, leave as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))
