"""The files of clusters/scale and the command that answers them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from descant.cli import app
from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.run.scale.question import Figure, load_question

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "clusters" / "scale").glob("*.yaml"))
LIMITS = "docs/results/bench-scale-limits"


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_rate_says_where_it_comes_from(path: Path) -> None:
    rates = load_question(path).rates
    for name in type(rates).model_fields:
        rate = getattr(rates, name)
        if rate.kind == "measured":
            page = re.match(r"(README\.md|docs/results/[\w-]+\.md)", rate.origin)
            assert page, f"{name} is called measured, and names no page"
            assert (ROOT / page.group()).is_file(), rate.origin


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_figures_of_the_benchmark_are_those_it_wrote(path: Path) -> None:
    measured = json.loads((ROOT / f"{LIMITS}.json").read_text())["rates"]
    rates = load_question(path).rates
    for name in type(rates).model_fields:
        rate = getattr(rates, name)
        if isinstance(rate, Figure) and rate.kind == "measured" and rate.origin.startswith(LIMITS):
            known = measured.get(name, measured["megabytes_per_worker"])
            # bytes are the same on any day; speeds are not, and a question may hold those of another run
            close = 0.01 if name.startswith("bytes") else 0.5
            assert rate.value == pytest.approx(known, rel=close), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_command_marks_what_is_assumed(path: Path) -> None:
    rates = load_question(path).rates
    assumed = [n for n in type(rates).model_fields if getattr(rates, n).kind == "assumed"]
    lines = shown("--scale", str(path)).splitlines()
    for name in assumed:
        assert any(re.match(rf"{name.replace('_', ' ')} .* assumed ", line) for line in lines), name
    assert any(
        f"{len(assumed)} of {len(type(rates).model_fields)} rates are assumed" in line for line in lines
    )


def test_setting_changes_the_answer(tmp_path: Path) -> None:
    path = str(ROOT / "clusters" / "scale" / "ms_marco_7b.yaml")
    assert "128 devices" in shown("--scale", path, "--set", "cluster.devices=128")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["recipe.yaml", "--scale", "x.yaml"],
        ["--scale", "x", "--compute", "y"],
        ["--scale", "x", "--store", "y"],
    ],
    ids=" ".join,
)
def test_plan_takes_a_recipe_or_a_question_and_nothing_beside_it(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="E-CLI-PLAN") as refused:
        shown(*arguments)
    assert refused.value.exit_code == 2


def test_question_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="E-CFG-SCALE"):
        shown("--scale", "nowhere.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.devices=48", "cannot be split evenly over 48 devices"),
        ("training.global_batch=500", "does not divide global_batch"),
        ("rates.encode.share=1.2", "less than or equal to 1"),
        ("rates.save_seconds.origin=''", "origin"),
        ("rates.save_seconds={value: 30, origin: mine}", "rates.save_seconds.kind"),
        ("corpus.documents=0", "greater than or equal to 1"),
        ("index={kind: hnsw}", "index"),
        ("cluster.device=8", "did you mean 'devices'"),
    ],
)
def test_question_that_makes_no_sense_is_refused_by_field(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_question(ROOT / "clusters" / "scale" / "ms_marco_7b.yaml", [change])


@pytest.mark.parametrize(("rate", "trained"), [("encode", "adapter"), ("train", "nothing")])
def test_speed_of_the_other_kind_of_work_is_refused(rate: str, trained: str) -> None:
    with pytest.raises(ConfigError, match=f"rates.{rate} was measured"):
        load_question(
            ROOT / "clusters" / "scale" / "quickstart_2_cores.yaml", [f"rates.{rate}.trained={trained}"]
        )


def test_question_has_no_fingerprint() -> None:
    assert isinstance(load_question(FILES[0]), Compute)
