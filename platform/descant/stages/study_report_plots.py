"""Charts of a study's report as numbers and SVG paths; the page styles them for light and dark.

Trade-off panels have a fixed size of ``WIDTH`` by ``HEIGHT`` with text in it; small multiples stretch, in percent.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from descant.evaluators.study import Trial
from descant.evaluators.study_statistics import BASE, MethodResult, TaskResult, pareto_front
from descant.stages.label_placement import Box, place_labels
from descant.stages.report_plots import Scale, loss_line, scale_around, smoothed
from descant.stages.study_report_content import StudyContent, Tuning

WIDTH, HEIGHT = 360, 300
FRAME = Box(44, 8, 352, 262)
LABEL_CHARACTERS, CHARACTER, LINE = 24, 6.5, 13

_COSTS: tuple[tuple[str, Callable[[MethodResult], float]], ...] = (
    ("trainable parameters", lambda row: row.cost.trainable_parameters if row.cost else 0),
    ("peak memory", lambda row: row.cost.peak_memory_bytes if row.cost else 0),
    ("training seconds", lambda row: row.cost.training_seconds if row.cost else 0),
)


def trade_offs(result: TaskResult) -> list[dict[str, Any]]:
    """One panel for each cost: score against its logarithm, with the Pareto front; none without a method."""
    rows = [row for row in result.rows if row.method != BASE]
    return [_trade_off(result, rows, name, cost) for name, cost in _COSTS if rows and all(map(cost, rows))]


def _trade_off(
    result: TaskResult, rows: Sequence[MethodResult], name: str, cost: Callable[[MethodResult], float]
) -> dict[str, Any]:
    points = {row.method: (cost(row), row.mean) for row in rows}
    front = pareto_front(points, higher_is_better=result.task.higher_is_better)
    xs = scale_around([math.log10(cost(row)) for row in rows], margin=0.12)
    ys = scale_around([end for row in rows for end in row.interval])

    def x(value: float) -> float:
        return FRAME.left + (FRAME.right - FRAME.left) * xs.percent(math.log10(value)) / 100

    def y(value: float) -> float:
        return FRAME.bottom - (FRAME.bottom - FRAME.top) * ys.percent(value) / 100

    places = [(x(cost(row)), y(row.mean)) for row in rows]
    whiskers = [(y(row.interval.high), y(row.interval.low)) for row in rows]
    names = [shortened(row.method) for row in rows]
    labels = place_labels(
        places,
        [CHARACTER * len(text) for text in names],
        height=LINE,
        frame=FRAME,
        obstacles=[
            Box(u - 1.5, top, u + 1.5, bottom) for (u, _), (top, bottom) in zip(places, whiskers, strict=True)
        ],
    )
    marks = [
        {
            "method": row.method,
            "text": text,
            "on_front": row.method in front,
            "x": round(u, 1),
            "y": round(v, 1),
            "top": round(top, 1),
            "bottom": round(bottom, 1),
            "text_x": round(label.box.left, 1),
            "text_y": round(label.box.bottom - 3.2, 1),
            "leader": label.leader and [round(end, 1) for end in label.leader],
        }
        for row, text, label, (u, v), (top, bottom) in zip(rows, names, labels, places, whiskers, strict=True)
    ]
    steps = sorted((u, v) for row, (u, v) in zip(rows, places, strict=True) if row.method in front)
    unit = "B" if name == "peak memory" else ""
    return {
        "name": name,
        "marks": marks,
        "front": "M"
        + "H".join(f"{u:.1f} {v:.1f}" if i == 0 else f"{u:.1f}V{v:.1f}" for i, (u, v) in enumerate(steps)),
        "x_ticks": [(round(x(tick), 1), _short(tick) + unit) for tick in log_ticks(xs)],
        "y_ticks": [(round(y(tick), 1), f"{tick:g}") for tick in ys.ticks(5)],
    }


def log_ticks(scale: Scale) -> list[float]:
    """Two to six round values within an axis of base-10 logarithms; on a short one at equal distances of values."""
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [
            f * 10.0**p for p in powers for f in factors if scale.low <= math.log10(f * 10.0**p) <= scale.high
        ]
        if len(values) >= 3:
            break
    else:
        values = Scale(10**scale.low, 10**scale.high).ticks(8)
    return values[:: math.ceil(len(values) / 5)]


def tuning_panels(content: StudyContent, task: str) -> list[dict[str, Any]]:
    """By method: the score of every trial, the best so far, and the chosen one, on the task's common scale."""
    tunings = content.tunings[task]
    scores = [t.score for tuning in tunings for t in tuning.entry.trials if t.score is not None]
    if not scores:
        return []
    scale = scale_around(scores, margin=0.12)
    most = max(len(tuning.entry.trials) for tuning in tunings)
    return [_tuning_panel(tuning, scale, most) for tuning in tunings]


def _tuning_panel(tuning: Tuning, scale: Scale, most: int) -> dict[str, Any]:
    trials, chosen = tuning.entry.trials, tuning.chosen

    def left(i: int) -> float:
        return round(100 * (i + 0.5) / most, 2)

    path: list[str] = []
    best_so_far: float | None = None
    better = max if tuning.task.higher_is_better else min
    for i, trial in enumerate(trials):
        if trial.score is not None:
            best_so_far = trial.score if best_so_far is None else better(best_so_far, trial.score)
            height = f"{100 - scale.percent(best_so_far):.2f}"
            path.append(f"L{left(i):.2f} {height}" if path else f"M{left(i):.2f} {height}")
            if len(path) > 1:
                path[-1] = f"H{left(i):.2f}V{height}"
    return {
        "method": tuning.entry.method,
        "counts": tuning.counts,
        "chosen": chosen,
        "ends": (f"{scale.low:.2f}", f"{scale.high:.2f}"),
        "best": "".join(path),
        "dots": [
            {
                "left": left(i),
                "top": 100.0 if t.score is None else round(100 - scale.percent(t.score), 2),
                "kind": _kind(t),
                "is_chosen": t is chosen,
                "title": f"trial {t.number}: {t.status}" + ("" if t.score is None else f", {t.score:.3f}"),
            }
            for i, t in enumerate(trials)
        ],
    }


def _kind(trial: Trial) -> str:
    return "none" if trial.score is None else trial.status


def curve_panels(content: StudyContent, task: str) -> list[dict[str, Any]]:
    """By method: the smoothed training loss of every seed, on the task's common scale."""
    by_method = {
        t.entry.method: [[p.score for p in f.curve] for f in t.entry.finals if f.curve]
        for t in content.tunings[task]
    }
    by_method = {method: curves for method, curves in by_method.items() if curves}
    if not by_method:
        return []
    scale = scale_around([v for curves in by_method.values() for c in curves for v in smoothed(c)])
    return [
        {
            "method": method,
            "lines": [loss_line(curve, len(curve), scale) for curve in curves],
            "last": sum(smoothed(curve)[-1] for curve in curves) / len(curves),
            "ticks": [(round(100 - scale.percent(tick), 2), f"{tick:g}") for tick in scale.ticks(3)],
        }
        for method, curves in by_method.items()
    ]


def shortened(name: str) -> str:
    """At most ``LABEL_CHARACTERS``: the start and the end of a long name."""
    if len(name) <= LABEL_CHARACTERS:
        return name
    head = (LABEL_CHARACTERS - 1) * 2 // 3
    return f"{name[:head]}…{name[head + 1 - LABEL_CHARACTERS :]}"


def _short(value: float) -> str:
    """``30k``, ``1.5M``."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
