"""Models trained on a task, in the registry: gate, loading in a fresh process, comparing, pulling."""

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from descant.artifacts.models import TinyModel
from descant.artifacts.store import Store
from descant.cli import app
from descant.core.errors import ConfigError, DataError, DependencyError, IntegrityError, PolicyError
from descant.core.fingerprint import file_digest
from descant.evaluators.statistics import paired_test
from descant.models.classifier import ClassifierSpec
from descant.run.completion import sources
from descant.run.gate import Evidence
from descant.run.lineage import study_lineage, task_model_name
from descant.run.paired import compare
from descant.run.registry import list_versions, load, model_folder, promote, pull, register, show
from descant.run.tracking import Tracker
from descant.run.versions import Version

from .proxy import Proxy

ROWS = ["the sun", "water is in the cells of plants", "heat and light from the sun", "why"]
NAME = task_model_name("glue-lora", "rte")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two classifiers of a tiny base: no adapter, heads of different seeds."""
    from descant.models.classify import load_classifier
    from descant.models.trained import save_trained

    home, spec = tmp_path_factory.mktemp("classifiers"), ClassifierSpec(model=TinyModel(), pooling="cls")
    folders = (home / "first", home / "second")
    for seed, folder in enumerate(folders):
        head = load_classifier(spec, 2, seed=seed).head.state_dict()
        save_trained(folder, spec, head=head, labels=("no", "yes"))
    return folders


def judged(right: int, *, base: int = 10, task: str = "rte", measure: str = "accuracy") -> Evidence:
    """Forty rows of which the first ``right`` are answered rightly."""
    return Evidence(
        task=task,
        measure=measure,
        scores={f"row-{i:02}": float(i < right) for i in range(40)},
        base_scores={f"row-{i:02}": float(i < base) for i in range(40)},
        intervals={measure: (right / 40, right / 40 - 0.1, right / 40 + 0.1)},
    )


def registered(root: Path, folder: Path, shown: Evidence) -> Version:
    lineage = study_lineage(
        "5eed", "rte", "lora", {"rank": 8, "hub_token": "canary"}, (1, 2), {"test": "d" * 64}
    )
    with Tracker.open(root).job("compare_adapters", {}, "job: compare_adapters") as job:
        return register(job, folder, NAME, lineage=lineage, evidence=shown, paired_test=paired_test)


def test_task_model_says_what_it_was_made_from(root: Path, classifiers: tuple[Path, Path]) -> None:
    version = registered(root, classifiers[0], judged(30))
    assert (version.uri, version.kind) == ("models:/glue-lora-rte/1", "classifier")
    expected = {"study": "5eed", "method": "lora", "seeds": "1, 2", "data.test": "d" * 64}
    assert expected.items() <= dict(version.tags).items()
    assert json.loads(version.tags["labels"]) == ["no", "yes"]
    assert version.tags["head_sha256"] == file_digest(classifiers[0] / "head.safetensors")
    assert version.tags["score.accuracy"] == "0.7500 [0.6500, 0.8500]"
    assert "canary" not in str(version.tags)


@pytest.mark.parametrize(("right", "base", "aliases"), [(30, 10, ("champion",)), (11, 10, ()), (8, 10, ())])
def test_first_task_model_becomes_champion_only_when_shown_better_than_its_base(
    root: Path, classifiers: tuple[Path, Path], right: int, base: int, aliases: tuple[str, ...]
) -> None:
    assert registered(root, classifiers[0], judged(right, base=base)).aliases == aliases


@pytest.mark.parametrize(("right", "aliases"), [(30, ()), (2, ("champion",))])
def test_where_lower_is_better_the_lower_scores_win(
    root: Path, classifiers: tuple[Path, Path], right: int, aliases: tuple[str, ...]
) -> None:
    shown = dataclasses.replace(judged(right, base=15, measure="bits_per_byte"), higher_is_better=False)
    assert registered(root, classifiers[0], shown).aliases == aliases


def test_worse_task_model_cannot_take_the_alias_and_a_better_one_does(
    root: Path, classifiers: tuple[Path, Path], tmp_path: Path
) -> None:
    registered(root, classifiers[0], judged(25))
    worse = registered(root, classifiers[1], judged(15))
    assert worse.aliases == ()
    assert worse.tags["promotion"].startswith("against version 1: worse")
    better = Path(shutil.copytree(classifiers[1], tmp_path / "third"))
    (better / "README.md").write_text("other bytes")
    assert registered(root, better, judged(38)).aliases == ("champion",)
    assert [version.aliases for version in list_versions(Store(root))] == [(), (), ("champion",)]


def test_promoted_task_model_loads_in_a_fresh_process_from_the_registry_alone(
    root: Path, classifiers: tuple[Path, Path], tmp_path: Path
) -> None:
    from descant.models.trained import load_trained

    folder = Path(shutil.copytree(classifiers[0], tmp_path / "made"))
    registered(root, folder, judged(11))
    promote("models:/glue-lora-rte/1", Store(root))
    expected = load_trained(folder).logits(ROWS)  # type: ignore[union-attr]
    shutil.rmtree(folder)
    script = (
        "import sys; from descant.artifacts.store import Store; from descant.run.registry import load\n"
        "import mlflow, numpy, os\n"
        "ours = load('models:/glue-lora-rte@champion', Store(sys.argv[1])).logits(sys.argv[3:])\n"
        "mlflow.set_tracking_uri(f'sqlite:///{sys.argv[1]}/mlflow.db')\n"
        "plain = mlflow.pyfunc.load_model('models:/glue-lora-rte@champion').predict(sys.argv[3:])\n"
        "numpy.save(sys.argv[2], numpy.stack([ours, plain]))"
    )
    command = [sys.executable, "-c", script, str(root), str(tmp_path / "logits.npy"), *ROWS]
    subprocess.run(command, check=True, timeout=240)
    for found in np.load(tmp_path / "logits.npy"):
        np.testing.assert_array_equal(found, expected)


def test_task_model_with_a_changed_byte_is_not_loaded(root: Path, classifiers: tuple[Path, Path]) -> None:
    registered(root, classifiers[0], judged(30))
    path = next((root / "mlartifacts").rglob("classifier/head.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IntegrityError, match=r"head\.safetensors"):
        load("models:/glue-lora-rte/1", Store(root))


def test_version_of_a_kind_that_there_is_not_is_not_opened(
    root: Path, classifiers: tuple[Path, Path]
) -> None:
    version = registered(root, classifiers[0], judged(30))
    client = Tracker.open(root).connection.client
    client.set_model_version_tag(version.name, "1", "kind", "../../up")
    with pytest.raises(PolicyError, match="kind"):
        model_folder("models:/glue-lora-rte/1", Store(root))


def test_comparing_two_versions_tells_difference_interval_and_p(
    root: Path, classifiers: tuple[Path, Path]
) -> None:
    registered(root, classifiers[0], judged(20))
    registered(root, classifiers[1], judged(30))
    found = compare("models:/glue-lora-rte/2", "models:/glue-lora-rte/1", Store(root))
    assert (found.means, found.num_examples) == ((0.75, 0.5), 40)
    assert found.difference == paired_test(
        [float(i < 30) for i in range(40)], [float(i < 20) for i in range(40)]
    )
    result = CliRunner().invoke(
        app, ["registry", "compare", found.first.uri, found.second.uri, "--store", str(root)]
    )
    assert result.exit_code == 0
    assert "+0.2500" in result.stdout
    assert "models:/glue-lora-rte/2 is better" in result.stdout
    assert "same 40 examples" in result.stdout


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (judged(30, task="boolq"), "another task: rte and boolq"),
        (judged(30, measure="f1"), "another measure: accuracy and f1"),
        (replace(judged(30), scores={"row-99": 1.0}, base_scores={"row-99": 0.0}), "scored on one side"),
    ],
)
def test_versions_that_were_judged_otherwise_are_not_compared(
    root: Path, classifiers: tuple[Path, Path], other: Evidence, reason: str
) -> None:
    registered(root, classifiers[0], judged(9))  # not above its base: no champion to judge the other against
    registered(root, classifiers[1], other)
    with pytest.raises(DataError, match=reason):
        compare("models:/glue-lora-rte/1", "models:/glue-lora-rte/2", Store(root))


def test_pulled_folder_is_the_registered_one(
    root: Path, classifiers: tuple[Path, Path], tmp_path: Path
) -> None:
    registered(root, classifiers[0], judged(30))
    pulled = pull("models:/glue-lora-rte@champion", tmp_path / "new" / "copy", Store(root))
    names = sorted(path.name for path in classifiers[0].iterdir())
    assert sorted(path.name for path in pulled.iterdir()) == names
    assert all((pulled / name).read_bytes() == (classifiers[0] / name).read_bytes() for name in names)
    assert list(pulled.parent.iterdir()) == [pulled]
    with pytest.raises(ConfigError, match="there already"):
        pull("models:/glue-lora-rte@champion", pulled, Store(root))


def test_shell_is_offered_the_versions_that_begin_so(root: Path, classifiers: tuple[Path, Path]) -> None:
    registered(root, classifiers[0], judged(30))
    assert sources(root, "models:/gl") == ["models:/glue-lora-rte@champion", "models:/glue-lora-rte/1"]
    assert sources(root, "models:/x") == []
    assert sources(root / "none", "") == []
    assert show(sources(root, "")[0], Store(root)).number == 1


def test_registration_needs_the_server_and_the_same_call_registers_later(
    tmp_path: Path, server: str, classifiers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(int(server.rsplit(":", 1)[1]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    proxy.set("refuse")
    with pytest.raises(DependencyError) as caught:
        registered(tmp_path, classifiers[0], judged(30))
    assert caught.value.exit_code == 7
    assert "Finished results are kept" in str(caught.value)
    proxy.set("pass")
    assert registered(tmp_path, classifiers[0], judged(30)).aliases == ("champion",)
    assert len(list_versions(Store(tmp_path), NAME)) == 1
