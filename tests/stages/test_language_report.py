"""The report of a language adaptation from figures made by hand: its sentences, its Markdown and its page."""

from collections.abc import Sequence

from descant.evaluators.statistics import Interval
from descant.stages.language_report_content import (
    WRITING_SPEED,
    InitialisedRows,
    LanguageContent,
    System,
    TextScores,
)
from descant.stages.language_report_page import language_page
from descant.stages.language_report_table import language_markdown
from descant.stages.report_content import MINUS

BYTES = [100] * 8
NLL = [60.0, 70, 80, 65, 75, 62, 71, 77]
"""Nats of eight texts of 100 bytes under the base."""
EFFECTS = {
    "base": {"tokens": 400, "texts": 8, "words": 100, "bytes": 800, "new": 0, "fragments": 8},
    "extended": {"tokens": 200, "texts": 8, "words": 100, "bytes": 800, "new": 90, "fragments": 0},
    "change": -0.5,
    "share_changed": 0.0,
    "lost": 0,
}


def scores(factor: float) -> TextScores:
    return TextScores([factor * one for one in NLL], BYTES, tokens=400)


def system(name: str, factor: float, *, speed: float | None = None) -> System:
    return System(
        name=name,
        scores={"language": scores(factor), "base language": scores(1.0)},
        tasks={"copa, accuracy per byte": (0.5, Interval(0.4, 0.6))},
        facts={} if speed is None else {WRITING_SPEED: speed},
        samples=[("the [first] words", "and *more* of them")],
    )


def content(systems: Sequence[System]) -> LanguageContent:
    return LanguageContent(
        title="Turkish for a_base",
        seed=1,
        side_effects={"language": EFFECTS, "base_language": EFFECTS | {"change": 0.0}},
        new_tokens=90,
        systems=systems,
        initialised=[InitialisedRows("mean", scores(1.1), scores(0.9))],
        compare_bytes=1000,
    )


def sentences(without: float, extended: float) -> list[str]:
    systems = [system("base", 1.0), system("same", without), system("extended", extended)]
    return content(systems).sentences


def test_new_tokens_that_do_not_pay_are_said_not_to() -> None:
    verdict = "by bits per byte new tokens do not pay at this budget"
    assert verdict in sentences(without=0.7, extended=0.8)
    assert verdict not in sentences(without=0.8, extended=0.7)
    assert verdict not in sentences(without=0.7, extended=0.7)


def test_differences_carry_sign_interval_and_word() -> None:
    found = " ".join(sentences(without=0.8, extended=0.9))
    base = sum(NLL) / sum(BYTES) * 1.442695
    assert f"same: language {MINUS}{0.2 * base:.3f} [" in found
    assert f"extended against same: language +{0.1 * base:.3f} [" in found
    assert "bits per byte, worse; base language" in found
    assert "base language +0.000 [+0.000, +0.000] bits per byte, no difference shown" in found


def test_speeds_of_writing_are_told_where_they_were_measured() -> None:
    told = content([system("base", 1.0, speed=142.31), system("same", 0.9, speed=97.0)]).sentences
    assert "bytes written a second: base 142.3, same 97" in told
    assert not any("written" in one for one in content([system("base", 1.0)]).sentences)


def test_markdown_escapes_what_it_shows_once() -> None:
    markdown = language_markdown(content([system("base", 1.0, speed=142.3), system("a_b", 0.9)]))
    assert "# Turkish for a\\_base" in markdown
    assert "| a\\_b | " in markdown
    assert "0.500 \\[0.400, 0.600\\]" in markdown
    assert "\\\\" not in markdown


def test_page_shows_every_system_and_runs_no_code() -> None:
    page = language_page(content([system("base", 1.0), system("<b>extended", 0.9)]))
    assert "&lt;b&gt;extended" in page
    assert "<script" not in page
    assert "copa, accuracy per byte" in page
