"""docs/scale.md shows what the command says, what was measured, and drills that exist."""

import json
import re
from collections.abc import Iterator

import pytest

from descant.run.scale.estimate import estimate
from descant.run.scale.question import load_question
from tests.run.scale.test_estimate import QUICKSTART, in_readme, seconds_of
from tests.run.scale.test_questions import ROOT, shown

PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n\$ descant plan --scale (\S+)\n(.+?)^```$", PAGE, re.M | re.S)
COMPONENTS = (
    *("driver", "GCS store", "worker", "GPU", "NCCL", "shared file system", "object store", "MLflow"),
    *("registry", "image pull", "token", "spot machine"),
)


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def table(heading: str) -> Iterator[list[str]]:
    """The rows of the first table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        yield [cell.strip() for cell in row.strip("|").split(" |")]


def test_page_shows_every_question() -> None:
    assert {path for path, _ in BLOCKS} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "clusters" / "scale").glob("*.yaml")
    }


@pytest.mark.parametrize(("path", "block"), BLOCKS, ids=[path for path, _ in BLOCKS])
def test_page_shows_what_the_command_prints(path: str, block: str) -> None:
    """A block is the output, or its beginning."""
    expected = lines_of(block)
    assert lines_of(shown("--scale", str(ROOT / path)))[: len(expected)] == expected


def test_page_compares_the_quickstart_as_measured_with_the_estimate() -> None:
    found = estimate(load_question(QUICKSTART))
    stages = {"train": "train", "embed passages": "embed passages", "embed queries": "embed queries"}
    stages |= {"index": "build index", "mine examples": "mine examples", "evaluate": "search"}
    rows = list(table("The check: the quickstart"))
    assert len(rows) == len(stages)
    for step, measured, estimated in rows:
        stage = next(stages[start] for start in stages if step.startswith(start))
        assert measured == f"{in_readme(step)} s"
        assert estimated == f"{seconds_of(found, stage):.1f} s"


def test_every_component_can_fail_and_has_a_drill_or_says_why_not() -> None:
    rows = list(table("What can fail"))
    for component in COMPONENTS:
        assert any(component in row[0] for row in rows), component
    for row in rows:
        assert len(row) == 7
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row[-1]) or "not testable here" in row[-1], row[0]


def test_limits_are_those_of_the_benchmark() -> None:
    rates = json.loads((ROOT / "docs/results/bench-scale-limits.json").read_text())["rates"]
    limits = {row[0]: row[1] + row[2] for row in table("Limits")}
    shown_limits = "\n".join(limits.values())
    for name, unit in (
        ("bytes_per_id_checked", "bytes an id"),
        ("bytes_per_id_listed", "bytes an id of 18 letters"),
        ("bytes_per_part", "bytes in a manifest"),
    ):
        assert f"{rates[name]:.0f} {unit}" in shown_limits
    assert f"{1e8 * rates['bytes_per_id_checked'] / 1e9:.1f} GB for 10^8" in shown_limits
    assert f"{round(rates['rows_fetched_per_second'], -3):,} rows a second" in shown_limits
    assert f"{1e5 * rates['seconds_per_part']:.0f} s from a local disk" in shown_limits


def test_figures_of_the_formula_are_those_it_gives() -> None:
    """The prose under "Where the formula stops" repeats the last row of the table above it."""
    row = next(line for line in PAGE.splitlines() if line.startswith("16,384 "))
    assert {"0.603", "0.655"} <= set(row.split())
    assert "the formula says 0.603, played through it is 0.655" in " ".join(PAGE.split())
