"""Rows 1 to 8 and 10 to 13 of the fault table: what is wrong in a recipe or on the command line, as a user meets it."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from descant.core.errors import ConfigError
from descant.run.job import load_recipe
from tests.faults.command import ROOT, assert_refused, descant, nothing_started
from tests.faults.tiny_job import COMPUTE, RECIPE, write_data, write_job

MOST_SECONDS = 10  # 0.6 on an idle core; the machine that tests may be busy with other things
MOST_MEGABYTES = 300
FUZZ_CASES = int(os.environ.get("DESCANT_FUZZ_CASES", "500"))


class Fault(NamedTuple):
    """One edit of the recipe (a line replaced by others), and what the message must hold."""

    line: str
    instead: str
    rule: str
    parts: tuple[str, ...]


TAGGED = 'task: !!python/object/apply:os.system ["touch {marker}"]'
BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
VALUE = "E-CFG-VALUE"
RUNS_NAME = "^[a-z0-9][a-z0-9-]"

FAULTS = {
    "1 misspelt key": Fault(
        "  learning_rate: 1.0e-3",
        "  learing_rate: 1",
        VALUE,
        ("recipe.yaml:15", "unknown key 'training.learing_rate'", "did you mean 'learning_rate'?"),
    ),
    "2 text for a number": Fault(
        "  learning_rate: 1.0e-3",
        "  learning_rate: 1e-5x",
        VALUE,
        ("recipe.yaml:15", "learning_rate = '1e-5x' (str)", "valid number"),
    ),
    "3 duplicate key": Fault(
        "  learning_rate: 1.0e-3",
        "  learning_rate: 1.0e-3\n  learning_rate: 2.0e-3",
        "E-CFG-DUPLICATE",
        ("recipe.yaml:16", "'learning_rate'", "line 15", "line 16"),
    ),
    "4 no": Fault(
        "task: tiny", "task: no", "E-CFG-AMBIGUOUS", ("recipe.yaml:2 (task)", "False, bool", "quote it: 'no'")
    ),
    "4 octal": Fault(
        "seed: 17", "seed: 0123", "E-CFG-AMBIGUOUS", ("recipe.yaml:3 (seed)", "83, int", "quote it")
    ),
    "4 base 60": Fault(
        "task: tiny", "task: 12:30:45", "E-CFG-AMBIGUOUS", ("(task)", "45045, int", "quote it")
    ),
    "4 version": Fault(
        "task: tiny", "task: 1.10", VALUE, ("recipe.yaml:2", "task = 1.1 (float)", "quote it")
    ),
    "5 object tag": Fault(
        "task: tiny",
        TAGGED,
        "E-CFG-TAG",
        ("recipe.yaml:2", "python/object/apply:os.system", "Remove the tag"),
    ),
    "6 alias bomb": Fault(
        "task: tiny", BOMB, "E-CFG-ALIAS", ("recipe.yaml:3", "'*a0' is not allowed", "Write the value")
    ),
    "6 depth 5000": Fault(
        "task: tiny",
        "task: " + "[" * 5000 + "]" * 5000,
        "E-CFG-DEPTH",
        ("recipe.yaml:2", "limit of 64", "Flatten"),
    ),
    "7 negative rate": Fault(
        "  learning_rate: 1.0e-3",
        "  learning_rate: -1",
        VALUE,
        (":15", "learning_rate = -1", "greater than 0"),
    ),
    "7 nan": Fault(
        "  learning_rate: 1.0e-3", "  learning_rate: .nan", VALUE, (":15", "learning_rate = nan", "finite")
    ),
    "7 inf": Fault(
        "  learning_rate: 1.0e-3", "  learning_rate: .inf", VALUE, (":15", "learning_rate = inf", "finite")
    ),
    "7 batch 0": Fault(
        "  global_batch: 4", "  global_batch: 0", VALUE, (":16", "global_batch = 0", "than or equal to 1")
    ),
    "7 too many examples": Fault(
        "  k: 1", "  k: 65", VALUE, (":12", "examples.k = 65", "less than or equal to 64")
    ),
    "8 parent folder": Fault("seed: 17", "register_as: ../../e", VALUE, (":3", "'../../e'", RUNS_NAME)),
    "8 absolute": Fault("seed: 17", "register_as: /abs", VALUE, ("'/abs'", RUNS_NAME)),
    "8 newline": Fault("seed: 17", 'register_as: "a\\nb"', VALUE, ("'a\\nb'", RUNS_NAME)),
    "8 newline at the end": Fault("seed: 17", 'register_as: "abc\\n"', VALUE, ("'abc\\n'", RUNS_NAME)),
    "8 NUL": Fault("seed: 17", 'register_as: "ab\\0c"', VALUE, ("'ab\\x00c'", RUNS_NAME)),
    "8 right to left": Fault("seed: 17", 'register_as: "ab\\u202Ec"', VALUE, ("'ab\\u202ec'", RUNS_NAME)),
    "8 300 letters": Fault("seed: 17", "register_as: " + "a" * 300, VALUE, ("aaa'", RUNS_NAME)),
    "8 option": Fault("seed: 17", "register_as: -rf", VALUE, ("'-rf'", RUNS_NAME)),
    "8 task": Fault("task: tiny", "task: ../e", VALUE, (":2", "'../e'", "^[a-z0-9]")),
    "10 variable": Fault(
        "task: tiny",
        'task: "${{AWS_SECRET_ACCESS_KEY}}"',
        "E-CFG-ENV",
        (
            "recipe.yaml:2",
            "${AWS_SECRET_ACCESS_KEY}",
            "DESCANT_DATA",
            "Nothing was read from the environment",
        ),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_recipe_with_a_fault_is_refused_before_anything_starts(name: str, home: Path) -> None:
    fault = FAULTS[name]
    write_data(home / "data")
    assert RECIPE.count(f"{fault.line}\n") == 1
    instead = fault.instead.replace("{marker}", str(home / "canary"))
    job = write_job(home, RECIPE.replace(fault.line, instead))
    ended = descant(home, "run", *job, AWS_SECRET_ACCESS_KEY="canary-value")
    assert_refused(ended, 2, fault.rule, *fault.parts)
    assert "canary-value" not in ended.text
    assert not (home / "canary").exists()
    assert nothing_started(home)
    assert ended.seconds < MOST_SECONDS
    assert ended.megabytes < MOST_MEGABYTES


@pytest.mark.parametrize("command", ["plan", "run"])
def test_recipe_that_is_not_there_is_refused(command: str, home: Path) -> None:
    ended = descant(home, command, home / "none.yaml")
    assert_refused(ended, 2, "E-CFG-FILE", "none.yaml", "there is no such file", "Check the path")


def test_rate_without_a_dot_reaches_the_plan_as_a_number(home: Path) -> None:
    write_data(home / "data")
    with_dot = descant(home, "plan", *write_job(home, RECIPE.replace("1.0e-3", "1.0e-5")))
    without = descant(home, "plan", *write_job(home, RECIPE.replace("1.0e-3", "1e-5")))
    assert (with_dot.code, without.code) == (0, 0)
    assert with_dot.text == without.text


@pytest.mark.parametrize(
    ("write", "rule", "parts"),
    [
        (
            lambda path: _sparse(path, 200 << 20),
            "E-CFG-SIZE",
            ("209715200 bytes", "limit is 1048576", "Shorten"),
        ),
        (
            lambda path: path.write_text("job: x", "utf-16"),
            "E-CFG-UTF8",
            ("byte 0", "not UTF-8", "Save the file"),
        ),
    ],
    ids=["6 200 MB", "6 UTF-16"],
)
def test_file_that_is_no_utf_8_text_of_sane_size_is_refused_in_little_memory(
    write: Callable[[Path], object], rule: str, parts: tuple[str, ...], home: Path
) -> None:
    write(home / "recipe.yaml")
    ended = descant(home, "plan", home / "recipe.yaml")
    assert_refused(ended, 2, rule, "recipe.yaml", *parts)
    assert ended.megabytes < MOST_MEGABYTES
    assert ended.seconds < MOST_SECONDS


COMBINATIONS = {
    "11 batch over workers": (
        RECIPE,
        COMPUTE.replace("workers: 1, zero: 0", "workers: 3"),
        ("E-TRN-SPLIT", "workers = 3", "4 rows cannot be split evenly", "Use one of 1, 2, 4 workers"),
    ),
    "11 batch over contrast": (
        RECIPE.replace("  num_negatives: 0", "  num_negatives: 0\n  contrast_batch: 3"),
        COMPUTE,
        (VALUE, "contrast_batch = 3 does not divide global_batch = 4", "Nothing was started"),
    ),
    "11 index over texts": (
        RECIPE + "index: {{kind: bm25}}\n",
        COMPUTE,
        ("E-IDX-TAKES", "index.kind = bm25", "indexes texts", "Use exact, hnsw or ivf"),
    ),
    "11 pooling under attention": (
        RECIPE.replace("pooling: mean", "pooling: cls\n  attention: causal"),
        COMPUTE,
        (VALUE, "under causal attention the first token sees no other", "Nothing was started"),
    ),
    "misspelt key of the profile": (
        RECIPE,
        COMPUTE.replace("zero: 0", "zeros: 0"),
        (VALUE, "compute.yaml:3", "unknown key 'train.zeros'", "did you mean 'zero'?"),
    ),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_impossible_combination_is_refused_by_the_plan(name: str, home: Path) -> None:
    recipe, compute, (rule, *parts) = COMBINATIONS[name]
    write_data(home / "data")
    ended = descant(home, "plan", *write_job(home, recipe, compute))
    assert_refused(ended, 2, rule, *parts)
    assert nothing_started(home)
    assert ended.seconds < MOST_SECONDS


def test_unfinished_training_of_the_edited_recipe_is_not_left_behind_unsaid(home: Path) -> None:
    write_data(home / "data")
    job = write_job(home)
    folder = _half_done_training(home, job[0])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    edited = write_job(home, RECIPE.replace("1.0e-3", "2.0e-3").replace("seed: 17", "seed: 18"))
    ended = descant(home, "run", *edited)
    assert_refused(
        ended,
        2,
        "E-RUN-DRIFT",
        f"recipe.yaml (train with examples): an unfinished training of this recipe is at train/{folder.name}",
        "settings.learning_rate: 0.001 -> 0.002",
        "settings.seed: 17 -> 18",
        "Undo the change to resume it, or add --accept-drift",
    )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list((home / "tmp").iterdir())
    assert ended.seconds < MOST_SECONDS


@pytest.mark.slow
@pytest.mark.ray
def test_beginning_anew_is_on_record_and_keeps_both(home: Path) -> None:
    write_data(home / "data")
    folder = _half_done_training(home, write_job(home)[0])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    edited = write_job(home, RECIPE.replace("1.0e-3", "2.0e-3"), COMPUTE)
    ended = descant(home, "run", *edited, "--accept-drift")
    assert ended.code == 0, ended.text
    assert f"begun anew train/{folder.name} stays unfinished" in " ".join(ended.text.split())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    client = MlflowClient(f"sqlite:///{home / 'store/mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (parent,) = client.search_runs(experiments, "tags.`drift.unfinished` LIKE 'train/%'")
    assert parent.data.tags["drift.unfinished"] == f"train/{folder.name}"
    assert parent.data.tags["drift.changes"] == "settings.learning_rate: 0.001 -> 0.002"
    assert (home / "store" / parent.data.tags["drift.begun_anew"] / "manifest.json").is_file()


HOSTILE_ARGUMENTS = {
    "override without a value": (["--set", "seed"], "E-CFG-SET", ("expected KEY=VALUE", "Write --set a.b=c")),
    "override of nothing": (["--set", "=1"], "E-CFG-SET", ("expected KEY=VALUE",)),
    "override inside a number": (
        ["--set", "seed.a=1"],
        "E-CFG-SET",
        ("'a' is not a key here", "Check the key"),
    ),
    "override with a tag": (["--set", "task=!!python/name:os.system"], "E-CFG-TAG", ("not allowed",)),
    "override with a control character": (["--set", "task=a\x1b[31mb"], "E-CFG-YAML", ("not valid YAML",)),
    "override with bytes that are not UTF-8": (["--set", "task=\udcff"], "E-CFG-YAML", ("not valid YAML",)),
    "override of a key of 5,000 digits": (["--set", f"{'1' * 5000}=1"], VALUE, ("unknown key '111",)),
    "job that is a list": (["--set", "job=[a]"], VALUE, ("job: Input should be",)),
    "unknown option": (["--colour"], "E-CLI-USAGE", ("--colour", "Nothing was started")),
}


@pytest.mark.parametrize("name", HOSTILE_ARGUMENTS)
def test_hostile_argument_is_refused_with_a_message_that_can_be_shown(name: str, home: Path) -> None:
    arguments, rule, parts = HOSTILE_ARGUMENTS[name]
    write_data(home / "data")
    ended = descant(home, "plan", *write_job(home), *arguments)
    assert_refused(ended, 2, rule, *parts)
    assert all(letter.isprintable() or letter == "\n" for letter in ended.text)


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("name", ["../../etc", "/etc", "a\nb"])
def test_fingerprint_that_leads_elsewhere_is_refused(command: str, name: str, home: Path) -> None:
    ended = descant(home, command, name)
    assert_refused(ended, 2, "E-STORE-FIND", "0 results match", "descant show")


YAML_TEXTS = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="abjork:-[]{}!&*#|>'\"?,%@ \n\t01.eE~", max_size=120),
    st.lists(st.sampled_from(RECIPE.replace("{{", "{").replace("}}", "}").splitlines()), max_size=20).map(
        "\n".join
    ),
    st.tuples(
        st.sampled_from(
            ["job", "task", "seed", "data", "encoder", "examples", "training", "measures", "top_k"]
        ),
        st.text(alphabet="abjork:-[]{}'\", 01.eE~", max_size=20),
    ).map(lambda pair: RECIPE.format(data="/none") + f"\n{pair[0]}2: 1\n{pair[0]}: {pair[1]}"),
)
OVERRIDES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.tuples(
            st.sampled_from(
                ["seed", "training", "training.method", "training.method.kind", "measures.0", "data.path"]
            ),
            st.text(max_size=20),
        ).map("=".join),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def imported() -> None:
    """All modules that reading a recipe imports, which takes about as long as it may take."""
    for path in sorted((ROOT / "jobs/recipes").glob("*/smoke.yaml")):
        load_recipe(path)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=YAML_TEXTS, overrides=OVERRIDES)
@example(text="job: [a]", overrides=[])
@example(text="job: {a: b}", overrides=[])
@example(text='"\\ud800": 1\njob: finetune_retriever', overrides=[])
@example(text="job: finetune_retriever", overrides=[f"measures.{'1' * 5000}=1"])
@example(text="job: finetune_retriever", overrides=["training.method=[" + "[" * 3000])
@example(text=f"job: finetune_retriever\nseed: {'9' * 299}", overrides=[])
@example(text="job: finetune_retriever\ntask: &a x\nseed: *a", overrides=[])
def test_any_text_and_any_override_gives_a_recipe_or_an_error_for_the_user(
    text: str, overrides: list[str], imported: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path = home / "recipe.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    started = time.thread_time()
    with contextlib.suppress(ConfigError):
        load_recipe(path, overrides)
    assert time.thread_time() - started < 2  # usually well under 0.1


def _half_done_training(folder: Path, recipe: str) -> Path:
    """What a killed run leaves of the training step of the recipe in ``folder``: a note and a checkpoint."""
    from descant.core.fingerprint import canonical
    from descant.stages.base import in_order

    job = load_recipe(Path(recipe)).job
    step = next(step for step in in_order(job.steps().values()) if step.stage.name == "train")
    training = folder / "store/train" / step.fingerprint
    (training / "training/checkpoints/step-00000001-0badcafe").mkdir(parents=True)
    note = {"recipe": str(Path(recipe).resolve()), "label": step.label, "spec": canonical(step.stage)}
    (training / "draft.json").write_text(json.dumps(note))
    return training


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(size)
