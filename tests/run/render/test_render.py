"""Rendering: equal to the golden files, valid for Ray's launcher, and what is refused before anything is written."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from descant.cli import app
from descant.core.errors import ConfigError, PolicyError, ResourceError
from descant.run.clusters.render.render import render
from descant.run.clusters.render.spec import find_folder
from tests.golden.rendered import CLUSTERS, GOLDEN, rendered
from tests.run.render.clusters import ROOT, SMOKE, copy_of, rendered_with

LAUNCHER = ("aws", "gcp")
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", CLUSTERS)
def test_files_equal_the_golden_ones(name: str) -> None:
    golden = {path.name: path.read_text() for path in (GOLDEN / name).iterdir()}
    assert rendered(name) == golden, "meant to change? make golden, and look at the difference"


def problems(document: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(document)]


@pytest.mark.parametrize("kind", LAUNCHER)
def test_launcher_files_are_valid_for_ray_s_schema(kind: str) -> None:
    document = yaml.safe_load((GOLDEN / kind / "cluster.yaml").read_text())
    assert problems(document) == []
    assert len(problems(document | {"surprise": 1})) == 1
    assert len(problems(document | {"max_workers": "2"})) == 1


@pytest.mark.parametrize("kind", LAUNCHER)
def test_machines_are_private_and_workers_spot(kind: str) -> None:
    document = yaml.safe_load((GOLDEN / kind / "cluster.yaml").read_text())
    types = document["available_node_types"]
    head, worker = types["head"]["node_config"], types["worker"]["node_config"]
    if kind == "aws":
        assert worker["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert "InstanceMarketOptions" not in head
        assert head["MetadataOptions"] == worker["MetadataOptions"] == {"HttpTokens": "required"}
        assert head["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    else:
        assert worker["scheduling"]["preemptible"] is True
        assert "scheduling" not in head
        assert "accessConfigs" not in str(document)
    assert types["head"]["resources"] == {"CPU": 0}
    assert (types["worker"]["min_workers"], types["worker"]["max_workers"]) == (0, 2)


def test_command_reaches_the_cluster_as_it_was_meant() -> None:
    """Two shells read it: the one that runs the script, and the one on the head."""
    script = (GOLDEN / "aws" / "run.sh").read_text()
    (line,) = re.findall(r"^ray exec (.*)$", script, re.M)
    file, command = shlex.split(line)
    assert file == "cluster.yaml"
    words = shlex.split(command)
    assert words[-7:] == [
        *("descant", "run", "~/inputs/recipe.yaml", "--compute", "~/inputs/compute.yaml"),
        *("--store", "/mnt/descant/results"),
    ]
    assert "RAY_AUTH_MODE=token" in words


def test_ray_knows_every_option_that_it_is_given() -> None:
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    lines = [
        command
        for kind in LAUNCHER
        for section in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in yaml.safe_load((GOLDEN / kind / "cluster.yaml").read_text())[section]
    ]
    given = [shlex.split(line.partition("ray start ")[2]) for line in lines if "ray start" in line]
    assert len(given) == 4
    script = (GOLDEN / "slurm" / "job.sbatch").read_text().replace("\\\n", " ")
    (symmetric,) = re.findall(r"ray symmetric-run (.*?) -- ", script)
    rest = curate_and_validate_ray_start_args(shlex.split(symmetric.replace("$nodes", "2")))
    assert [word.partition("=")[0] for word in rest] == [
        *("--num-cpus", "--num-gpus", "--temp-dir", "--dashboard-host", "--disable-usage-stats")
    ]
    known = {name for parameter in start.params for name in parameter.opts}
    for words in [*given, rest]:
        assert {word.partition("=")[0] for word in words} <= known


@pytest.mark.parametrize("name", CLUSTERS)
def test_scripts_are_read_by_bash(name: str) -> None:
    for path in (GOLDEN / name).iterdir():
        if path.suffix in (".sh", ".sbatch"):
            subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize(
    ("changes", "room"), [({"gpus": 3}, 6), ({"cpus": 8}, 4), ({"gpus": 4, "nodes": 1}, 4)]
)
def test_profile_that_does_not_fit_the_nodes_is_refused(
    changes: dict[str, Any], room: int, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match=f"train: asks for 8 x .* room for {room}"):
        rendered_with("slurm", tmp_path, **changes)


def test_profile_of_a_cluster_that_adds_nodes_has_to_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "kuberay"
    shutil.copytree(ROOT / "clusters" / "kuberay", folder)
    profile = folder / "compute.yaml"
    profile.write_text(profile.read_text().replace("autoscales: true\n", ""))
    with pytest.raises(ConfigError, match="autoscales: true"):
        render(folder, SMOKE)


@pytest.mark.parametrize(
    ("cluster", "changes", "message"),
    [
        ("kuberay", {"image": "registry.example.com/descant:latest"}, "image"),
        ("kuberay", {"surprise": 1}, "surprise"),
        ("kuberay", {"workers": []}, "workers"),
        ("kuberay", {"claim": "../storage"}, "claim"),
        (
            "kuberay",
            {"head": {"cpus": 4, "memory_gigabytes": 4, "shared_memory_gigabytes": 4}},
            "shared_memory",
        ),
        ("slurm", {"kind": "pbs"}, "expected one of ray, kuberay, slurm, aws, gcp"),
        ("slurm", {"kind": ["slurm"]}, "expected one of"),
        ("slurm", {"storage": "relative"}, "storage"),
        ("slurm", {"storage": "/shared/../etc"}, "storage"),
        ("aws", {"least": 3}, "least = 3 is more than most = 2"),
        ("aws", {"security_group": "default"}, "security_group"),
    ],
)
def test_wrong_cluster_is_refused_by_its_field(
    cluster: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        rendered_with(cluster, tmp_path, **changes)
    assert "compute.yaml" in raised.value.where or "cluster.yaml" in raised.value.where


def test_policy_is_held_against_what_the_cluster_file_asks_for(tmp_path: Path) -> None:
    everywhere = {"cidr": "0.0.0.0/0", "port": 443}
    with pytest.raises(PolicyError, match=r"P-EGRESS rayjob\.yaml"):
        rendered_with("kuberay", tmp_path, kubernetes_api=everywhere)


def test_recipe_that_no_configmap_holds_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "jobs" / "long.yaml"
    recipe.parent.mkdir()
    comment = "# " + "x" * 997 + "\n"
    recipe.write_text(SMOKE.read_text() + comment * 1047)
    assert recipe.stat().st_size < 1 << 20
    with pytest.raises(ConfigError, match="a ConfigMap holds less than 1048576"):
        render(ROOT / "clusters" / "kuberay", recipe)


def test_recipe_that_is_wrong_is_refused_with_its_line(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(SMOKE.read_text().replace("max_rows: 64", "max_rowz: 64"))
    with pytest.raises(ConfigError, match="did you mean 'max_rows'"):
        render(ROOT / "clusters" / "kuberay", recipe)


def test_comparison_is_compared() -> None:
    recipe = ROOT / "jobs" / "recipes" / "compare_adapters" / "smoke.yaml"
    assert (
        "descant compare /etc/descant/recipe.yaml"
        in render(ROOT / "clusters" / "kuberay", recipe)["rayjob.yaml"]
    )


def test_equal_work_has_equal_names_and_other_work_others(tmp_path: Path) -> None:
    def name(folder: Path) -> str:
        (found,) = re.findall(r"^#SBATCH --job-name=(.*)$", render(folder, SMOKE)["job.sbatch"], re.M)
        return str(found)

    folder = copy_of("slurm", tmp_path)
    assert name(folder) == name(ROOT / "clusters" / "slurm")
    (folder / "compute.yaml").write_text("embed: {workers: 1}\n")
    assert name(folder) != name(ROOT / "clusters" / "slurm")


def test_command_writes_the_files_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "two words"
    done = CliRunner().invoke(app, ["cluster", "render", "aws", str(SMOKE), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [
        "cluster.yaml",
        "compute.yaml",
        "recipe.yaml",
        "run.sh",
    ]
    assert (out / "run.sh").stat().st_mode & 0o111
    assert (out / "recipe.yaml").read_text() == SMOKE.read_text()
    assert f"next: '{out}'/run.sh" in done.output
    assert find_folder("aws") == Path("clusters/aws")


def test_refusal_writes_nothing_and_ends_with_6(tmp_path: Path) -> None:
    folder = copy_of("kuberay", tmp_path, kubernetes_api={"cidr": "0.0.0.0/0", "port": 443})
    out = tmp_path / "out"
    words = ["cluster", "render", str(folder), str(SMOKE), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "descant.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 6, done.stderr
    assert "P-EGRESS" in done.stderr
    assert not out.exists()


def test_rendering_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from descant.run.clusters.render.render import render\n"
        "render(Path('clusters/kuberay'), Path('jobs/recipes/finetune_retriever/smoke.yaml'))\n"
        "print(sorted({'torch', 'transformers', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
