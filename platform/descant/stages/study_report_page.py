"""The report of a study as one HTML page that needs nothing else: no script, no font, no request."""

from typing import Any

from descant.evaluators.study_statistics import BASE, MethodResult, TaskResult
from descant.stages import study_report_content as texts
from descant.stages.report_page import rendered
from descant.stages.report_plots import Scale, scale_around
from descant.stages.study_report_content import StudyContent
from descant.stages.study_report_plots import HEIGHT, WIDTH, curve_panels, trade_offs, tuning_panels


def study_html(content: StudyContent) -> str:
    """The whole page."""
    return rendered(
        "study_report_page.html.j2",
        content=content,
        study=content.study,
        base=BASE,
        texts=texts,
        size=(WIDTH, HEIGHT),
        tasks=[_task(content, result) for result in content.results],
        forgetting=[_forgetting(result, rows) for result, rows in content.forgetting],
    )


def _task(content: StudyContent, result: TaskResult) -> dict[str, Any]:
    scale = scale_around([end for row in result.rows for end in row.interval] or [0.0])
    name = result.task.name
    importances = [(e.method, content.importances[name, e.method]) for e in content.study.of_task(name)]
    by_setting = [i for _, found in importances if not isinstance(found, str) for i in found]
    return {
        "result": result,
        "headline": content.headline(result),
        "rows": [
            {"of": row, "strip": _strip(row, scale), "costs": list(texts.costs(row, result))}
            for row in result.rows
        ],
        "cost_names": texts.cost_names(result),
        "ends": (f"{scale.low:.2f}", f"{scale.high:.2f}"),
        "trade_offs": trade_offs(result),
        "tunings": content.tunings[name],
        "tuning_panels": tuning_panels(content, name),
        "curves": curve_panels(content, name),
        "importances": importances,
        "settings": sorted({i.setting for i in by_setting}),
    }


def _strip(row: MethodResult, scale: Scale) -> dict[str, float]:
    low, high = map(scale.percent, row.interval)
    return {"dot": scale.percent(row.mean), "left": low, "width": round(high - low, 2)}


def _forgetting(result: TaskResult, rows: list[tuple[str, float, float | None]]) -> dict[str, Any]:
    largest = max((abs(change) for _, _, change in rows if change is not None), default=0.0) or 1.0
    return {
        "result": result,
        "rows": [
            (method, after, change, 0.0 if change is None else round(100 * abs(change) / largest, 2))
            for method, after, change in rows
        ],
    }
