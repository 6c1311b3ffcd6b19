import dataclasses
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from descant.evaluators.statistics import p_text
from descant.evaluators.study import Study, from_json
from descant.evaluators.study_statistics import BASE, task_result
from descant.stages.label_placement import Box, place_labels
from descant.stages.report_content import signed, size_text
from descant.stages.report_plots import Scale
from descant.stages.study_report import write_study_report
from descant.stages.study_report_content import StudyContent, Tuning
from descant.stages.study_report_page import study_html
from descant.stages.study_report_plots import _short, log_ticks, shortened, trade_offs
from descant.stages.study_report_table import direction_text, study_markdown, study_terminal_table
from tests.stages.test_report_page import HOSTILE, Page, table_rows
from tests.synthetic_study import FAILED, METHODS, synthetic_study


@pytest.fixture(scope="module")
def study() -> Study:
    return synthetic_study(num_rows=60)


@pytest.fixture(scope="module")
def content(study: Study) -> StudyContent:
    return StudyContent(study)


@pytest.fixture(scope="module")
def html(content: StudyContent) -> str:
    return study_html(content)


def hostile(study: Study) -> Study:
    """The same with hostile names, causes, settings and links wherever a text may come from outside."""
    entries = [
        dataclasses.replace(
            e,
            method=HOSTILE if e.method == METHODS[0][0] else e.method,
            trials=tuple(
                dataclasses.replace(t, setting={HOSTILE: HOSTILE}, cause=t.cause and HOSTILE)
                for t in e.trials
            ),
            finals=tuple(
                dataclasses.replace(f, setting={HOSTILE: HOSTILE}, links={HOSTILE: f"https://x/{HOSTILE}"})
                for f in e.finals
            ),
        )
        for e in study.entries
    ]
    return dataclasses.replace(
        study,
        name=HOSTILE,
        base=HOSTILE,
        methods=(HOSTILE, *study.methods[1:]),
        entries=tuple(entries),
        provenance={HOSTILE: HOSTILE},
    )


def test_page_shows_the_numbers_of_the_statistics(study: Study, html: str) -> None:
    page = Page(html).text
    for task in study.tasks:
        for row in task_result(study, task).rows:
            assert f"{row.mean:.3f} {row.interval.low:.3f} – {row.interval.high:.3f}" in page  # noqa: RUF001
            if row.to_best is not None:
                low, high = row.to_best.interval
                text = f"{signed(row.to_best.mean)} [{signed(low)}, {signed(high)}] {row.standing}"
                assert f"{text} {p_text(row.to_best.p_value)}" in page


def test_markdown_tables_parse_and_hold_the_numbers_of_the_statistics(study: Study) -> None:
    tables = tables_of(study_markdown(StudyContent(study)))
    assert all(len({len(row) for row in table}) == 1 for table in tables)
    for task, table in zip(study.tasks, tables, strict=False):
        result = task_result(study, task)
        assert [row[0] for row in table[2:]] == [*(row.method for row in result.rows), FAILED]
        for row, cells in zip(result.rows, table[2:], strict=False):
            low, high = row.interval
            assert cells[1] == f"{row.mean:.3f} \\[{low:.3f}, {high:.3f}\\]"
            assert cells[3].replace("\\", "") == (p_text(row.to_best.p_value) if row.to_best else "")
            assert cells[4] == row.standing
            assert cells[5] == ("" if row.method == BASE else "3")


def tables_of(markdown: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    return [table_rows(block) for block in blocks]


def test_page_requests_nothing(html: str) -> None:
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert not {"src", "href"} & page.attributes.keys()
    assert "url(" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.attributes["content"]


def test_page_links_to_web_addresses_only(study: Study) -> None:
    links = {"run": "https://mlflow.example/#/runs/1", "model": "javascript:alert(1)"}
    entry = study.entries[0]
    finals = (dataclasses.replace(entry.finals[0], links=links), *entry.finals[1:])
    made = dataclasses.replace(study, entries=(dataclasses.replace(entry, finals=finals), *study.entries[1:]))
    page = Page(study_html(StudyContent(made)))
    assert page.attributes["href"] == {"https://mlflow.example/#/runs/1"}
    assert "javascript:alert(1)" in page.text


def test_page_and_markdown_show_hostile_text_as_text(study: Study, html: str) -> None:
    made = StudyContent(hostile(study))
    page = Page(study_html(made))
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert not {"script", "img"} & page.tags
    assert page.attributes.keys() - Page(html).attributes.keys() <= {"href"}
    markdown = study_markdown(made)
    assert "<script" not in markdown.replace("\\<", "")
    assert all(len({len(row) for row in table}) == 1 for table in tables_of(markdown))


def test_failed_method_is_named_once_with_its_tasks_and_cause(html: str, content: StudyContent) -> None:
    cause = "PEFT refuses prompt tuning for a classifier without a generation head (8 of 8 trials)"
    sentence = f"{FAILED} failed on boolq-passages and commonsense-multiple-choice: {cause}."
    assert content.warnings == [sentence]
    assert sentence in Page(html).text


def test_one_seed_is_said_and_a_wrong_formula_too(study: Study) -> None:
    entry = study.entries[0]
    run = dataclasses.replace(entry.finals[0], declared_parameters=7)
    single = dataclasses.replace(entry, finals=(run,))
    warnings = StudyContent(dataclasses.replace(study, entries=(single, *study.entries[1:]))).warnings
    assert any(w.startswith(f"One seed only: {entry.method} on {entry.task}.") for w in warnings)
    assert any("declares 7 trainable parameters and has 2,359,296" in w for w in warnings)


def test_settings_that_one_trial_drew_are_said_and_equal_ones_are_not(study: Study) -> None:
    def warnings_of(rates: tuple[float, ...]) -> list[str]:
        entries = []
        for entry in study.entries:
            if entry.finals:
                setting = {"learning_rate": rates[study.methods.index(entry.method) % len(rates)]}
                trial = dataclasses.replace(entry.trials[0], setting=setting)
                finals = tuple(dataclasses.replace(run, setting=setting) for run in entry.finals)
                entry = dataclasses.replace(entry, trials=(trial,), finals=finals)
            entries.append(entry)
        made = dataclasses.replace(study, entries=tuple(entries))
        return [w for w in StudyContent(made).warnings if w.startswith("One trial each")]

    (found,) = warnings_of((1e-4, 3e-4))
    assert "methods differ in learning_rate too" in found
    assert warnings_of((1e-4,)) == []


def test_study_without_any_success_still_has_a_report(study: Study) -> None:
    entries = tuple(dataclasses.replace(e, trials=(), finals=(), cause="disk full") for e in study.entries)
    tasks = tuple(dataclasses.replace(t, base_scores=None) for t in study.tasks)
    made = StudyContent(dataclasses.replace(study, entries=entries, tasks=tasks))
    assert "no method finished on boolq-passages" in Page(study_html(made)).text
    assert "no method finished on boolq-passages" in study_markdown(made)


def test_chosen_trial_is_the_best_of_those_with_the_final_setting(study: Study) -> None:
    entry = study.entries[0]
    chosen = Tuning(study.tasks[0], entry).chosen
    assert chosen is not None
    assert chosen.score == max(t.score for t in entry.trials if t.score is not None)
    assert Tuning(study.tasks[0], study.of_task(study.tasks[0].name)[-1]).chosen is None


def test_report_is_three_files_and_the_study_reads_back(study: Study, html: str, tmp_path: Path) -> None:
    write_study_report(study, tmp_path / "new" / "report")
    folder = tmp_path / "new" / "report"
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.md", "study.json"}
    assert from_json((folder / "study.json").read_bytes()) == study
    assert (folder / "report.html").read_text("utf-8") == html


def test_terminal_table_names_every_method_and_fits(study: Study) -> None:
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(study_terminal_table(study))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 110
    assert all(text.count(name) >= 2 for name in study.methods)
    assert "failed" in text


@pytest.mark.parametrize(
    "points",
    [
        [(60.0, 100.0)] * 5,
        [(60.0 + 3 * i, 100.0 + 4 * i) for i in range(10)],
        [(340.0, 20.0), (340.0, 25.0), (345.0, 250.0), (50.0, 255.0)],
    ],
)
def test_labels_stay_in_the_frame_and_never_overlap(points: Sequence[tuple[float, float]]) -> None:
    frame = Box(44, 8, 352, 262)
    labels = place_labels(points, [130.0] * len(points), height=13, frame=frame, obstacles=[])
    boxes = [label.box for label in labels]
    assert all(box.outside(frame) == pytest.approx(0) for box in boxes)
    assert sum(a.overlap(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0


def test_trade_off_names_the_front(study: Study) -> None:
    result = task_result(study, study.tasks[0])
    panel = trade_offs(result)[0]
    cheapest = min(
        (row for row in result.rows if row.cost), key=lambda row: row.cost and row.cost.trainable_parameters
    )
    on_front = {mark["method"] for mark in panel["marks"] if mark["on_front"]}
    assert result.best is not None
    assert {cheapest.method, result.best.method} <= on_front
    assert len(panel["marks"]) == len(METHODS) - 1


def test_log_ticks_are_round_and_within_the_axis() -> None:
    assert log_ticks(Scale(4.5, 8.1)) == [1e5, 1e6, 1e7, 1e8]
    narrow = log_ticks(Scale(9.15, 9.66))
    assert 3 <= len(narrow) <= 6
    assert all(10**9.15 <= tick <= 10**9.66 for tick in narrow)


@given(st.floats(0, 12), st.floats(1e-4, 12))
def test_log_ticks_fit_axes_of_any_length(low: float, length: float) -> None:
    """All methods may cost nearly the same: full training with and without a few new rows."""
    ticks = log_ticks(Scale(low, low + length))
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-6 <= math.log10(tick) <= low + length + 1e-6 for tick in ticks)
    assert len({_short(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "999 B"), (1200, "1.2 kB"), (9_437_184, "9.4 MB"), (4_414_504_960, "4.4 GB"), (498e6, "498 MB")],
)
def test_size_is_written_for_people(size: float, text: str) -> None:
    assert size_text(size) == text


def test_long_name_keeps_its_start_and_end() -> None:
    assert shortened("svft-banded-d8-top-half-of-layers") == "svft-banded-d8-…f-layers"
    assert shortened("lora") == "lora"


@pytest.mark.parametrize(
    ("direction", "text"), [(0.838, "+0.84"), (-0.5, "\N{MINUS SIGN}0.50"), (-0.001, "+0.00"), (None, "")]
)
def test_rank_correlation_is_rounded_and_signed(direction: float | None, text: str) -> None:
    assert direction_text(direction) == text
