"""The report as one HTML page that needs nothing else: no script, no font, no request.

The template escapes every text by itself; what it gets from here is text and numbers, never markup.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from descant import __version__
from descant.core.measures import measure
from descant.evaluators.evaluation import Evaluation
from descant.evaluators.statistics import p_text
from descant.stages.report_content import MINUS, Comparison, Content, shown, signed
from descant.stages.report_plots import Scale, difference_areas, loss_line, scale_around, smoothed

NUM_COLOURS = 6


def html_report(content: Content) -> str:
    """The whole page."""
    return rendered(
        "report_page.html.j2",
        content=content,
        colour=colours(content.evaluations),
        label=measure(content.measures[0]).label,
        headlines=[c for c in content.comparisons if c.measure == content.measures[0]],
        results=results(content),
        forest=forest(content.comparisons, content.measures),
        queries=query_by_query(content),
        loss=loss_chart(content),
        training_names=list(dict.fromkeys(name for facts in content.training.values() for name in facts)),
    )


def rendered(template: str, **values: object) -> str:
    """A page of this folder's ``template``, filled with text and numbers."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "signed": signed, "p_text": p_text}
    return environment.get_template(template).render(version=__version__, **values)


def colours(evaluations: Sequence[Evaluation]) -> dict[str, int]:
    """The number of each system's colour in the style sheet; the first is grey."""
    return {e.system: i % NUM_COLOURS for i, e in enumerate(evaluations)}


def results(content: Content) -> dict[str, Any]:
    """Systems by measures; every measure has a scale of its own."""
    scales = {name: _scale_of_intervals(content, name) for name in content.measures}
    return {
        "measures": [measure(name).label for name in content.measures],
        "ends": [(f"{scales[name].low:.2f}", f"{scales[name].high:.2f}") for name in content.measures],
        "rows": [
            {
                "system": e.system,
                "cells": [_cell(content, e, name, scales[name]) for name in content.measures],
            }
            for e in content.evaluations
        ],
    }


def forest(comparisons: Sequence[Comparison], measures: Sequence[str]) -> dict[str, Any]:
    """All comparisons, measure by measure, on one axis that holds zero."""
    ends = [end for c in comparisons for end in c.difference.interval]
    scale = scale_around([0.0, *ends])
    groups = [
        {
            "label": measure(name).label,
            "rows": [{"of": c, **_dot(c, scale)} for c in comparisons if c.measure == name],
        }
        for name in measures
    ]
    ticks = [{"at": scale.percent(tick), "text": _tick(tick)} for tick in scale.ticks(5)]
    return {"groups": groups, "ticks": ticks, "zero": scale.percent(0.0)}


def query_by_query(content: Content) -> list[dict[str, Any]]:
    """For each pair: shares of wins, ties and losses by the first measure, and all differences."""
    first = content.measures[0]
    scores = {e.system: e.scores[first] for e in content.evaluations}
    panels = []
    for comparison in (c for c in content.comparisons if c.measure == first):
        gains, losses = difference_areas(scores[comparison.system] - scores[comparison.baseline])
        found = comparison.difference
        counts = {"better": found.wins, "equal": found.ties, "worse": found.losses}
        shares = [(word, n, round(100 * n / content.num_queries, 2)) for word, n in counts.items()]
        panels.append({"of": comparison, "shares": shares, "gains": gains, "losses": losses})
    return panels


def loss_chart(content: Content) -> dict[str, Any] | None:
    """The training losses on one pair of axes, or None when nothing was trained."""
    curves = {system: losses for system, losses in content.losses.items() if len(losses)}
    if not curves:
        return None
    scale = scale_around([value for losses in curves.values() for value in smoothed(losses)])
    num_steps = max(map(len, curves.values()))
    return {
        "num_steps": num_steps,
        "ticks": [{"at": 100 - scale.percent(tick), "text": f"{tick:g}"} for tick in scale.ticks(4)],
        "lines": [
            {"system": system, "points": loss_line(losses, num_steps, scale), "last": smoothed(losses)[-1]}
            for system, losses in curves.items()
        ],
    }


def _scale_of_intervals(content: Content, name: str) -> Scale:
    return scale_around([end for e in content.evaluations for end in content.intervals[e.system, name]])


def _cell(content: Content, evaluation: Evaluation, name: str, scale: Scale) -> dict[str, Any]:
    low, high = content.intervals[evaluation.system, name]
    return {
        "label": measure(name).label,
        "mean": evaluation.mean(name),
        "low": low,
        "high": high,
        "dot": scale.percent(evaluation.mean(name)),
        "left": scale.percent(low),
        "width": round(scale.percent(high) - scale.percent(low), 2),
        "difference": content.against_baseline(evaluation.system, name),
    }


def _dot(comparison: Comparison, scale: Scale) -> dict[str, float]:
    low, high = map(scale.percent, comparison.difference.interval)
    return {"dot": scale.percent(comparison.difference.mean), "left": low, "width": round(high - low, 2)}


def _tick(value: float) -> str:
    return "0" if value == 0 else f"{value:+g}".replace("-", MINUS)
