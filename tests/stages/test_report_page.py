import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from descant.evaluators.evaluation import Evaluation
from descant.evaluators.statistics import Interval, PairedDifference, bootstrap_interval, holm, paired_test
from descant.stages.report_content import Comparison, Content, Fact, QueryChange, shown, signed
from descant.stages.report_page import html_report
from descant.stages.report_table import markdown_report, terminal_table

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>{{ 7 * 7 }}|[bold]`*_\n# h"""
NUM_QUERIES = 40


def evaluation(system: str, *, shift: float = 0.0, noise: float = 0.0) -> Evaluation:
    scores = np.random.default_rng(1).uniform(0.2, 0.6, (2, NUM_QUERIES))
    scores = scores + shift + np.random.default_rng(2).normal(0, 1, scores.shape) * noise
    ids = tuple(f"q{i}" for i in range(NUM_QUERIES))
    return Evaluation(system, ids, {"ndcg_at_10": scores[0], "mrr_at_10": scores[1]})


def content(**changed: Any) -> Content:
    systems = [evaluation("base"), evaluation("tuned", shift=0.1, noise=0.05), evaluation("other", noise=0.2)]
    usual: dict[str, Any] = {"title": "scifact", "baseline": "base", "evaluations": systems, "seed": 7}
    return Content(**usual | changed)


class Page(HTMLParser):
    """The tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.words: list[str] = []
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_style = tag == "style"
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def hostile_content() -> Content:
    systems = [evaluation("base"), evaluation(HOSTILE, shift=0.1, noise=0.05)]
    return content(
        title=HOSTILE,
        evaluations=systems,
        warnings=[HOSTILE],
        changes={HOSTILE: [QueryChange(HOSTILE, HOSTILE, None, 1, 0.5)]},
        training={HOSTILE: {HOSTILE: HOSTILE}},
        losses={HOSTILE: [2.0, 1.0]},
        facts={HOSTILE: {HOSTILE: [HOSTILE]}},
        lineage={HOSTILE: HOSTILE},
    )


def test_page_shows_means_intervals_and_differences_that_the_statistics_give() -> None:
    page = Page(html_report(content())).text
    base, tuned = evaluation("base").scores, evaluation("tuned", shift=0.1, noise=0.05).scores
    for name in base:
        low, high = bootstrap_interval(tuned[name], seed=7)
        assert f"{tuned[name].mean():.3f} {low:.3f} – {high:.3f}" in page  # noqa: RUF001
        difference = paired_test(tuned[name], base[name], seed=7)
        interval = f"[{signed(difference.interval.low)}, {signed(difference.interval.high)}]"
        assert f"{signed(difference.mean)} {interval}" in page


def test_comparisons_are_corrected_over_the_whole_report() -> None:
    made = content(also_compare=[("tuned", "other")])
    scores = {e.system: e.scores for e in made.evaluations}
    raw = [
        paired_test(scores[system][name], scores[baseline][name], seed=7).p_value
        for system, baseline in [("tuned", "base"), ("other", "base"), ("tuned", "other")]
        for name in made.measures
    ]
    assert [c.difference.p_value for c in made.comparisons] == holm(raw)
    assert [(c.system, c.baseline) for c in made.comparisons[::2]] == made.pairs


def test_page_says_that_nothing_is_shown_where_nothing_is_shown() -> None:
    page = Page(html_report(content(evaluations=[evaluation("base"), evaluation("other", noise=0.2)]))).text
    assert "other cannot be told from base by nDCG@10 (p = " in page
    assert "is better than" not in page
    assert "not that they are equal" in page


def test_page_says_which_system_is_better() -> None:
    assert "tuned is better than base by 0." in Page(html_report(content())).text


@pytest.mark.parametrize(
    ("mean", "p_value", "sentence"),
    [
        (0.0421, 0.0001, "is better than base by 0.042 nDCG@10 [−0.010, +0.090] (p < 0.001)"),  # noqa: RUF001
        (-0.0421, 0.012, "is worse than base by 0.042 nDCG@10 [−0.010, +0.090] (p = 0.012)"),  # noqa: RUF001
        (
            0.0421,
            0.31,
            "cannot be told from base by nDCG@10 (p = 0.31): anything from −0.010 to +0.090 is plausible",  # noqa: RUF001
        ),
    ],
)
def test_comparison_reads_as_a_sentence(mean: float, p_value: float, sentence: str) -> None:
    difference = PairedDifference(mean, Interval(-0.01, 0.09), p_value, 5, 3, 2)
    assert Comparison("tuned", "base", "ndcg_at_10", difference).sentence == sentence


def test_page_of_two_equal_systems_says_that_they_score_the_same() -> None:
    page = Page(html_report(content(evaluations=[evaluation("base"), evaluation("copy")]))).text
    assert "copy scores the same as base on every query by nDCG@10" in page


def test_page_of_the_baseline_alone_has_results_and_no_comparison() -> None:
    page = Page(html_report(content(evaluations=[evaluation("base")]))).text
    assert f"{evaluation('base').mean('ndcg_at_10'):.3f}" in page
    assert "Query by query" not in page


def test_page_shows_hostile_text_as_text() -> None:
    plain, hostile = Page(html_report(content())), Page(html_report(hostile_content()))
    assert hostile.text.count("<script>alert(1)</script>") >= 10
    assert "{{ 7 * 7 }}" in hostile.text
    assert not {"script", "img"} & hostile.tags
    assert hostile.attributes.keys() - plain.attributes.keys() <= {"points"}


def test_page_requests_nothing() -> None:
    html = html_report(content(losses={"tuned": [2.0, 1.0]}))
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert not {"src", "href"} & page.attributes.keys()
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.attributes["content"]


def test_page_is_a_function_of_its_content() -> None:
    assert html_report(content()) == html_report(content())


def test_page_shows_warnings_changes_training_facts_and_lineage() -> None:
    page = Page(
        html_report(
            content(
                warnings=["5 passages quarantined: empty_text"],
                changes={"tuned": [QueryChange("q7", "why is it dark at night?", None, 3, 0.5)]},
                training={"tuned": {"trainable parameters": 589824}, "other": {"seconds": 12.34567}},
                losses={"tuned": [3.0, 2.5, 2.0]},
                facts={"Data": {"passages": 5183, "leak filter": True}},
                lineage={"data": "fetch/1f0c22ab91de"},
            )
        )
    ).text
    for expected in (
        "5 passages quarantined: empty_text",
        "why is it dark at night? q7 not found → 3 +0.500",
        "trainable parameters 589,824",
        "seconds 12.35",
        "step 3",
        "passages 5,183",
        "leak filter yes",
        "data fetch/1f0c22ab91de",
    ):
        assert expected in page


def test_page_counts_wins_ties_and_losses() -> None:
    base = Evaluation("base", ("a", "b", "c", "d"), {"mrr_at_10": np.array([1.0, 0.5, 0.0, 0.2])})
    tuned = Evaluation("tuned", ("a", "b", "c", "d"), {"mrr_at_10": np.array([0.5, 0.5, 1.0, 0.5])})
    page = Page(html_report(content(evaluations=[base, tuned]))).text
    assert "2 better 1 equal 1 worse" in page


def table_rows(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_holds_means_and_comparisons_as_tables() -> None:
    rows = table_rows(markdown_report(content()))
    assert rows[0] == ["system", "nDCG@10", "MRR@10"]
    assert [row[0] for row in rows[2:5]] == ["base", "tuned", "other"]
    assert rows[7][:3] == ["tuned", "base", "nDCG@10"]
    assert rows[7][6] == "better"


def test_markdown_keeps_hostile_text_within_its_cell() -> None:
    markdown = markdown_report(hostile_content())
    assert {len(row) for row in table_rows(markdown)} == {2, 3, 8}
    assert "<script" not in markdown.replace("\\<", "")
    assert not re.search(r"^# h", markdown, re.MULTILINE)


def rendered(made: Content, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_table(made))
    return console.export_text()


def test_terminal_table_fits_a_hundred_columns_and_says_the_verdict_in_words() -> None:
    text = rendered(content(), 100)
    assert "tuned is better than base by" in " ".join(text.split())
    assert "other cannot be told from base" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_terminal_table_prints_markup_as_text() -> None:
    assert "[bold]" in rendered(hostile_content(), 400)


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (5183, "5,183"),
        (True, "yes"),
        (None, ""),
        (0.00123456, "0.001235"),
        (123456.7, "123,457"),
        (["a", "b"], "a, b"),
    ],
)
def test_shown_writes_facts_for_people(fact: Fact, text: str) -> None:
    assert shown(fact) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0421, "+0.042"), (-0.01, "\N{MINUS SIGN}0.010"), (-0.0001, "+0.000")]
)
def test_signed_has_a_true_minus_and_no_negative_zero(value: float, text: str) -> None:
    assert signed(value) == text
