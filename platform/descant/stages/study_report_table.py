"""The report of a study without HTML: Markdown for files, one table for the terminal."""

from itertools import groupby
from typing import TYPE_CHECKING

from descant.evaluators.statistics import p_text
from descant.evaluators.study import Study
from descant.evaluators.study_statistics import BASE, MethodResult, TaskResult
from descant.stages import study_report_content as texts
from descant.stages.report_content import MINUS, shown, signed, size_text
from descant.stages.report_table import escaped, markdown_table
from descant.stages.study_report_content import StudyContent

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    "best": "bold green",
    "cannot be told from the best": "green",
    "worse": "red",
    "better": "bold yellow",
}


def study_markdown(content: StudyContent) -> str:
    """Everything the page says but its charts."""
    lines = [f"# {escaped(content.study.name)}", "", escaped(content.question), "", *_headlines(content), ""]
    if content.warnings:
        lines += ["**Before believing a number**", "", *(f"- {escaped(w)}" for w in content.warnings), ""]
    for result in content.results:
        lines += [f"## {escaped(result.task.name)}", "", *_task(result), ""]
    lines += [
        "## Tuning",
        "",
        *_tuning(content),
        "",
        "### Which settings mattered",
        "",
        *_importances(content),
        "",
    ]
    if content.forgetting:
        lines += [
            "## Forgetting",
            "",
            "Bits per byte on the probe text; lower is better.",
            "",
            *_forgetting(content),
            "",
        ]
    if content.failures:
        lines += ["## Failures", "", *_failures(content), ""]
    lines += ["## Runs", "", *_runs(content), "", "## Provenance", "", *_provenance(content.study), ""]
    return "\n".join([*lines, "## How to read the numbers", "", escaped(content.method), ""])


def study_terminal_table(study: Study) -> "Table":
    """All tasks in one table: score with interval, difference from the best with p-value, costs.

    The caption says in words which methods are best, which cannot be told from them, and which failed.
    """
    from rich.table import Table
    from rich.text import Text

    content = StudyContent(study)
    caption = "\n".join([*_sentences(content), *content.warnings])
    table = Table(
        title=Text(study.name), caption=Text(caption), box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    table.title_justify = table.caption_justify = "left"
    table.add_column("method", overflow="fold", min_width=12)
    for heading in ("score", "to the best", "trainable", "memory", "tokens/s"):
        table.add_column(heading, justify="right")
    for result in content.results:
        table.add_row(Text(f"{result.task.name} ({result.task.label})", style="bold underline"))
        for row in result.rows:
            standing = Text(
                row.standing if row.to_best is None else signed(row.to_best.mean), _STYLES[row.standing]
            )
            if row.to_best is not None:
                standing.append(f" {p_text(row.to_best.p_value)}", style="dim")
            cost = row.cost
            table.add_row(
                Text(row.method),
                Text(texts.interval_text(row)),
                standing,
                f"{cost.trainable_parameters:,}" if cost else "",
                size_text(cost.peak_memory_bytes) if cost else "",
                f"{cost.tokens_per_second:,.0f}" if cost else "",
            )
        for failure in result.failures:
            if not failure.num_finals:
                table.add_row(Text(failure.method), Text("failed", style="red"))
        table.add_row()
    return table


def _sentences(content: StudyContent) -> list[str]:
    return [f"{r.best.method if r.best else 'Result:'} {content.headline(r)}." for r in content.results]


def _headlines(content: StudyContent) -> list[str]:
    return [
        f"- **{escaped(r.best.method)}** {escaped(content.headline(r))}."
        if r.best
        else f"- {escaped(content.headline(r))}."
        for r in content.results
    ]


def _task(result: TaskResult) -> list[str]:
    task = result.task
    direction = "higher" if task.higher_is_better else "lower"
    split = f"{task.test_rows:,} test rows, {task.validation_rows:,} for validation"
    heading = f"{task.label}, {direction} is better; {split}."
    headings = ["method", "score, 95 % interval", "to the best, 95 % interval", "p", "standing", "seeds"]
    headings += texts.cost_names(result)
    rows = [_row(row, result) for row in result.rows]
    failed = [[f.method, "failed", *[""] * (len(headings) - 2)] for f in result.failures if not f.num_finals]
    return [escaped(heading), "", *markdown_table(headings, [*rows, *failed])]


def _row(row: MethodResult, result: TaskResult) -> list[str]:
    seeds = "" if row.method == BASE else str(row.num_seeds)
    figures = [texts.interval_text(row), texts.difference_text(row), texts.p_of(row), row.standing, seeds]
    return [row.method, *figures, *(text for _, text in texts.costs(row, result))]


def _tuning(content: StudyContent) -> list[str]:
    rows = []
    for task, tunings in content.tunings.items():
        for tuning in tunings:
            chosen = tuning.chosen
            score = "" if chosen is None or chosen.score is None else f"{chosen.score:.3f}"
            seconds = texts.seconds_text(sum(t.seconds for t in tuning.entry.trials))
            setting = texts.setting_text(tuning.setting)
            rows.append([tuning.entry.method, task, tuning.counts, seconds, score, setting])
    return markdown_table(
        ["method", "task", "trials", "tuning took", "best validation score", "setting that won"], rows
    )


def _importances(content: StudyContent) -> list[str]:
    rows, unsaid = [], []
    for (task, method), found in content.importances.items():
        if isinstance(found, str):
            unsaid.append((task, f"{method} ({found})"))
            continue
        rows += [
            [
                method,
                task,
                i.setting,
                f"{i.share:.2f}",
                f"{i.by_chance:.2f}",
                p_text(i.p_value),
                direction_text(i.direction),
            ]
            for i in found
        ]
    headings = ["method", "task", "setting", "share", "by chance", "p", "rank correlation"]
    table = markdown_table(headings, rows) if rows else []
    said = [
        f"Nothing to say on {escaped(task)}: {escaped('; '.join(m for _, m in group))}."
        for task, group in groupby(unsaid, lambda pair: pair[0])
    ]
    return [*table, *([""] if table and said else []), *said]


def direction_text(direction: float | None) -> str:
    """A rank correlation with its sign; empty for a choice."""
    return "" if direction is None else f"{round(direction, 2) + 0.0:+.2f}".replace("-", MINUS)


def _forgetting(content: StudyContent) -> list[str]:
    rows = []
    for result, found in content.forgetting:
        before = result.task.forgetting_base
        for method, after, change in found:
            figures = [
                "" if before is None else f"{before:.3f}",
                f"{after:.3f}",
                "" if change is None else signed(change),
            ]
            rows.append([method, result.task.name, *figures])
    return markdown_table(["method", "task", "before", "after", "change"], rows)


def _failures(content: StudyContent) -> list[str]:
    rows = [[f.method, f.task, str(f.num_finals), f.cause] for f in content.failures]
    return markdown_table(["method", "task", "final runs", "cause"], rows)


def _runs(content: StudyContent) -> list[str]:
    rows = [
        [e.method, e.task, str(f.seed), " · ".join(f"{k} {v}" for k, v in f.links.items())]
        for e, f in content.finals
    ]
    return markdown_table(["method", "task", "seed", "made"], rows)


def _provenance(study: Study) -> list[str]:
    facts = {
        "base": study.base,
        "budget": f"{shown(study.budget.amount)} {study.budget.kind}",
        "search": study.search,
    }
    facts |= {"scheduler": study.scheduler, "resampling seed": str(study.seed), **study.provenance}
    return markdown_table(["fact", "value"], [[name, value] for name, value in facts.items()])
