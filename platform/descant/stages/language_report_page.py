"""The report of a language adaptation as one HTML page that needs nothing else."""

from typing import Any

from descant.evaluators.statistics import Interval
from descant.stages.corpora import CORPORA
from descant.stages.language_report_content import LanguageContent
from descant.stages.language_report_table import METHOD, effect_rows
from descant.stages.report_page import NUM_COLOURS, rendered
from descant.stages.report_plots import Scale, scale_around


def language_page(content: LanguageContent) -> str:
    """The whole page."""
    return rendered(
        "language_report_page.html.j2",
        content=content,
        colour={system.name: i % NUM_COLOURS for i, system in enumerate(content.systems)},
        effects=effect_rows(content) if content.side_effects else [],
        results=results(content),
        initialised=initialised(content),
        charts=[chart for corpus in CORPORA if (chart := curve_chart(content, corpus))],
        fact_names=list(dict.fromkeys(name for system in content.systems for name in system.facts)),
        method=METHOD,
    )


def results(content: LanguageContent) -> dict[str, Any]:
    """Systems by corpora and tasks, each column with a scale of its own."""
    columns: dict[str, dict[str, tuple[float, Interval]]] = {
        f"bits per byte, {corpus}": {s.name: content.bits[s.name, corpus] for s in content.systems}
        for corpus in CORPORA
    }
    for system in content.systems:
        for task, score in system.tasks.items():
            columns.setdefault(task, {})[system.name] = score
    scales = {
        name: scale_around([end for _, interval in scores.values() for end in interval])
        for name, scores in columns.items()
    }
    rows = [
        {
            "system": system.name,
            "cells": [
                {"label": name, **_dot(*scores[system.name], scales[name])} if system.name in scores else None
                for name, scores in columns.items()
            ],
        }
        for system in content.systems
    ]
    ends = [(f"{scale.low:.2f}", f"{scale.high:.2f}") for scale in scales.values()]
    return {"columns": list(columns), "rows": rows, "ends": ends}


def initialised(content: LanguageContent) -> dict[str, Any] | None:
    """Each initialiser from its bits before to those after, on one axis, the best after first."""
    if not content.initialised:
        return None
    figures = {one.name: content.initialiser_bits(one) for one in content.initialised}
    scale = scale_around([value for pair in figures.values() for value in pair])
    rows = [
        {"name": name, "before": before, "after": after}
        | {"from": scale.percent(after), "width": round(scale.percent(before) - scale.percent(after), 2)}
        for name, (before, after) in sorted(figures.items(), key=lambda item: item[1][1])
    ]
    ticks = [{"at": scale.percent(tick), "text": f"{tick:g}"} for tick in scale.ticks(5)]
    return {"rows": rows, "ticks": ticks}


def curve_chart(content: LanguageContent, corpus: str) -> dict[str, Any] | None:
    """Bits per byte of a corpus over the share of the training that is done; None where none was followed."""
    curves = {
        system.name: [(step / system.steps, values[corpus]) for step, values in system.curve]
        for system in content.systems
        if len(system.curve) > 1
    }
    if not curves:
        return None
    scale = scale_around([value for points in curves.values() for _, value in points])
    lines = [
        {
            "system": name,
            "points": " ".join(f"{100 * at:.2f},{100 - scale.percent(value):.2f}" for at, value in points),
            "last": points[-1][1],
        }
        for name, points in curves.items()
    ]
    ticks = [{"at": 100 - scale.percent(tick), "text": f"{tick:g}"} for tick in scale.ticks(4)]
    return {"corpus": corpus, "lines": lines, "ticks": ticks}


def _dot(value: float, interval: Interval, scale: Scale) -> dict[str, float]:
    low, high = map(scale.percent, interval)
    return {
        "mean": value,
        "low": interval.low,
        "high": interval.high,
        "dot": scale.percent(value),
        "left": low,
        "width": round(high - low, 2),
    }
