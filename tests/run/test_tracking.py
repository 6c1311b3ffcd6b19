import json
import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from descant.core.errors import ConfigError, DataError, Interrupted
from descant.run.journal import spooled
from descant.run.loggable import as_params, name_of, without_secrets
from descant.run.tracking import Tracker

RECIPE = "job: finetune_retriever\nseed: 17\n"
SPEC = {"seed": 17, "training": {"learning_rate": 1e-4, "targets": ["q", "v"], "warmup": None}}


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return Tracker.open(root).connection.client


def all_runs(client: MlflowClient) -> list[MlflowRun]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def test_job_with_one_executed_and_one_cached_stage_leaves_one_child(
    root: Path, client: MlflowClient
) -> None:
    with Tracker.open(root).job("finetune_retriever", SPEC, RECIPE) as job:
        job.cached("embed the corpus", "embed/0123456789ab")
        with job.stage("train", "ba9876543210", SPEC["training"]):
            pass
    parent = client.get_run(job.run_id)
    children = [run for run in all_runs(client) if run.data.tags.get("mlflow.parentRunId") == job.run_id]
    assert parent.data.tags["cached.embed the corpus"] == "embed/0123456789ab"
    assert [child.info.run_name for child in children] == ["train"]
    assert children[0].data.tags["fingerprint"] == "ba9876543210"
    assert parent.data.tags["host"] == socket.gethostname()


def test_metrics_of_a_stage_are_found_under_their_house_names(root: Path, client: MlflowClient) -> None:
    with (
        Tracker.open(root).job("evaluate", SPEC, RECIPE) as job,
        job.stage("evaluate", "ba9876543210", {}) as stage,
    ):
        stage.metrics({"ndcg@10": 0.25, "recall_at_100": 1})
        stage.metrics({"loss": 3.5}, step=1)
        stage.metrics({"loss": 2.5}, step=2)
    assert client.get_run(stage.run_id).data.metrics == {
        "ndcg_at_10": 0.25,
        "recall_at_100": 1.0,
        "loss": 2.5,
    }
    assert [point.step for point in client.get_metric_history(stage.run_id, "loss")] == [1, 2]


def test_metrics_sent_again_for_a_step_make_no_second_point(root: Path, client: MlflowClient) -> None:
    with Tracker.open(root).job("train", SPEC, RECIPE) as job:
        for _ in range(2):
            job.metrics({"loss": 3.5}, step=1)
    assert len(client.get_metric_history(job.run_id, "loss")) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metrics_that_are_not_finite_become_a_tag(root: Path, client: MlflowClient, value: float) -> None:
    with Tracker.open(root).job("train", SPEC, RECIPE) as job:
        job.metrics({"loss": value, "seconds": 2.0}, step=7)
    data = client.get_run(job.run_id).data
    assert data.metrics == {"seconds": 2.0}
    assert data.tags["nonfinite.loss"] == f"{value} at step 7"


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (RuntimeError("worker died"), "FAILED", "RuntimeError"),
        (DataError("E-DAT-X", "row 1", "bad", "Correct it."), "FAILED", "E-DAT-X"),
        (
            Interrupted("E-RUN-STOPPED", "this run", "asked to stop", "Run it again."),
            "KILLED",
            "E-RUN-STOPPED",
        ),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
)
def test_job_that_ends_in_an_error_closes_parent_and_child_alike(
    root: Path, client: MlflowClient, error: BaseException, status: str, name: str
) -> None:
    tracker = Tracker.open(root)
    with pytest.raises(type(error)), tracker.job("train", SPEC, RECIPE) as job, job.stage("train", "ab", {}):
        raise error
    runs = all_runs(client)
    assert [run.info.status for run in runs] == [status, status]
    assert {run.data.tags["error"] for run in runs} == {name}


def test_job_that_succeeds_is_finished(root: Path, client: MlflowClient) -> None:
    with Tracker.open(root).job("train", SPEC, RECIPE) as job:
        pass
    run = client.get_run(job.run_id)
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags


def run_that_loses_its_database(root: Path, error: Exception | None) -> None:
    with Tracker.open(root).job("train", SPEC, RECIPE) as job:
        assert job.connection  # everything so far has arrived
        (root / "mlflow.db").unlink()
        if error is not None:
            raise error
        job.metrics({"loss": 3.5})


def test_database_that_is_lost_midway_stops_nothing_and_the_next_job_fills_a_new_one(root: Path) -> None:
    run_that_loses_its_database(root, None)
    assert spooled(root) == 2  # the metric and the end
    script = (  # another process: MLflow keeps the lost file open in this one
        "import sys; from pathlib import Path; from descant.run.tracking import Tracker\n"
        "with Tracker.open(Path(sys.argv[1])).job('evaluate', {}, 'job: evaluate'): pass"
    )
    subprocess.run([sys.executable, "-c", script, str(root)], check=True, timeout=120)
    (root / "mlflow.db").rename(root / "new.db")
    runs = all_runs(MlflowClient(f"sqlite:///{root / 'new.db'}"))
    assert [(run.info.run_name, run.info.status) for run in runs] == [
        ("train", "FINISHED"),
        ("evaluate", "FINISHED"),
    ]
    assert runs[0].data.metrics == {"loss": 3.5}
    assert spooled(root) == 0


def test_error_of_the_job_is_not_hidden_by_one_of_tracking(root: Path) -> None:
    with pytest.raises(ValueError, match="the cause"):
        run_that_loses_its_database(root, ValueError("the cause"))


def test_job_killed_outright_is_closed_by_the_next_one(root: Path, client: MlflowClient) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from descant.run.tracking import Tracker\n"
        "with Tracker.open(Path(sys.argv[1])).job('train', {}, 'job: train'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(root)], check=False, timeout=60)
    assert [run.info.status for run in all_runs(client)] == ["RUNNING"]
    with Tracker.open(root).job("train", SPEC, RECIPE):
        assert [run.info.status for run in all_runs(client)] == ["KILLED", "RUNNING"]


def test_params_of_any_number_and_length_lose_nothing(root: Path, client: MlflowClient) -> None:
    spec: dict[str, Any] = {f"setting_{i}": i for i in range(250)}
    spec["prompt"] = "wörd " * 2000
    with Tracker.open(root).job("train", spec, RECIPE) as job:
        pass
    params = client.get_run(job.run_id).data.params
    assert len(params) == 251
    assert params["setting_249"] == "249"
    assert params["prompt"].startswith("sha256:")
    assert "10000 characters" in params["prompt"]
    whole = Path(client.download_artifacts(job.run_id, "spec.json")).read_text("utf-8")
    assert spec["prompt"] in whole


def test_params_of_a_nested_spec_are_its_leaves_by_dotted_name() -> None:
    spec = {"a": {"b": [1, 2], "c": None}, "tasks": [{"name": "x"}, {"name": "y"}], "on": True, "empty": {}}
    assert as_params(spec) == {
        "a.b": "[1, 2]",
        "a.c": "null",
        "tasks.0.name": "x",
        "tasks.1.name": "y",
        "on": "true",
        "empty": "{}",
    }


@pytest.mark.parametrize(
    "key",
    ["password", "hf_token", "api_key", "apikey", "AWS_SECRET_ACCESS_KEY", "credentials", "private_key"],
)
def test_values_whose_key_looks_secret_are_replaced(key: str) -> None:
    assert "canary" not in str(without_secrets({"hub": [{key: "canary"}]}))


@pytest.mark.parametrize(
    "key", ["max_query_tokens", "tokens_per_batch", "tokenizer", "tokenizer_sha256", "pooling"]
)
def test_values_of_ordinary_keys_are_kept(key: str) -> None:
    assert without_secrets({key: "last_token"}) == {key: "last_token"}


def test_secrets_reach_no_file_of_the_store(root: Path) -> None:
    spec = {
        "hub_token": "canary-1",
        "url": "https://me:canary-2@example.org/x",
        "training": {"password": "canary-3"},
    }
    recipe = "job: train\ntraining:\n  password: canary-3\n"
    with Tracker.open(root).job("train", spec, recipe) as job, job.stage("fetch", "ab", spec):
        pass
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not [path for path in files if b"canary" in path.read_bytes()]


def test_recipe_is_kept_as_it_was_written(root: Path, client: MlflowClient) -> None:
    recipe = "# a comment\n" + RECIPE
    with Tracker.open(root).job("train", SPEC, recipe) as job:
        pass
    assert Path(client.download_artifacts(job.run_id, "recipe.yaml")).read_text() == recipe


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("ndcg@10", "ndcg_at_10"),
        ("eval/loss", "eval/loss"),
        ("f1(x)", "f1_x_"),
        ("größe", "gr__e"),
        ("a" * 300, "a" * 250),
    ],
)
def test_name_of_anything_is_one_that_mlflow_takes(
    root: Path, client: MlflowClient, given: str, taken: str
) -> None:
    assert name_of(given) == taken
    with Tracker.open(root).job("train", {given: 1}, RECIPE) as job:
        job.metrics({given: 0.5})
    assert client.get_run(job.run_id).data.metrics == {taken: 0.5}


def test_experiment_is_the_one_the_environment_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "my study")
    connection = Tracker.open(root).connection
    assert connection.client.get_experiment(connection.experiment_id).name == "my study"
    assert Tracker.open(root).connection.experiment_id == connection.experiment_id


def test_experiment_that_was_deleted_is_refused(root: Path, client: MlflowClient) -> None:
    client.delete_experiment(Tracker.open(root).connection.experiment_id)
    with pytest.raises(ConfigError, match="deleted"), Tracker.open(root).job("train", SPEC, RECIPE):
        raise AssertionError("the job was begun")
    assert spooled(root) == 0


def test_tracking_beside_a_fluent_run_leaves_it_alone(root: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    with Tracker.open(root).job("train", SPEC, RECIPE):
        assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_tracking_on_a_server_keeps_runs_and_files_there(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = Tracker.open(tmp_path / "store")
    with tracker.job("train", SPEC, RECIPE) as job, job.stage("train", "ab", {"r": 16}) as stage:
        stage.metrics({"loss": 3.5}, step=1)
    client = MlflowClient(server)
    assert client.get_run(stage.run_id).data.metrics == {"loss": 3.5}
    assert client.get_run(job.run_id).info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(job.run_id)} == {"spec.json", "recipe.yaml"}
    assert not list((tmp_path / "store").rglob("*.db"))


def test_study_is_a_tree_that_a_person_can_browse(root: Path, client: MlflowClient) -> None:
    with Tracker.open(root).job("study", SPEC, RECIPE, key="5eed", description="**What** is compared") as job:
        trial = job.child("arc-easy · lora · trial 3", key="arc-easy/lora/3", tags={"phase": "tuning"})
        with trial, trial.child("seed 17", params={"seed": 17}, tags={"phase": "final"}) as final:
            final.metrics({"accuracy": 0.5})
    parent, middle, leaf = (client.get_run(run.run_id) for run in (job, trial, final))
    assert parent.data.tags["mlflow.note.content"] == "**What** is compared"
    assert middle.data.tags["mlflow.parentRunId"] == job.run_id
    assert leaf.data.tags["mlflow.parentRunId"] == trial.run_id
    assert (middle.info.run_name, middle.data.tags["phase"]) == ("arc-easy · lora · trial 3", "tuning")
    assert leaf.data.params == {"seed": "17"}


def test_study_that_is_resumed_goes_on_in_its_runs_and_doubles_no_point(
    root: Path, client: MlflowClient
) -> None:
    ids = set()
    for last in (5, 10):
        with Tracker.open(root).job("study", SPEC, RECIPE, key="5eed") as job:
            assert client.get_run(job.run_id).info.status == "RUNNING"
            with job.child("trial 0", key="trial 0", params=SPEC) as trial:
                for step in range(last):
                    trial.metrics({"loss": 1.0}, step=step)
        ids.add((job.run_id, trial.run_id))
    assert len(ids) == 1
    assert len(all_runs(client)) == 2
    history = client.get_metric_history(trial.run_id, "loss")
    assert [point.step for point in history] == list(range(10))
    with Tracker.open(root).job("study", SPEC, RECIPE, key="other") as other:
        pass
    assert other.run_id != job.run_id


def test_trial_in_another_process_logs_to_the_run_that_the_driver_opened(
    root: Path, client: MlflowClient
) -> None:
    script = (
        "import json, sys; from pathlib import Path; from descant.run.tracking import Tracker\n"
        "with Tracker.open(Path(sys.argv[1])).attached(json.loads(sys.argv[2])) as trial:\n"
        "    for step in range(20): trial.metrics({'loss': 1.0}, step=step)"
    )
    with Tracker.open(root).job("study", SPEC, RECIPE, key="5eed") as job:
        trials = [job.child(f"trial {i}", key=str(i)) for i in range(2)]
        for trial in trials:
            handle = json.dumps(trial.handle)
            subprocess.run([sys.executable, "-c", script, str(root), handle], check=True, timeout=120)
        trials[0].close()
        trials[1].tags({"stopped": "by the scheduler at step 20"})
    assert job.spooled == 0
    for trial, status in zip(trials, ["FINISHED", "KILLED"], strict=True):
        assert client.get_run(trial.run_id).info.status == status
        assert len(client.get_metric_history(trial.run_id, "loss")) == 20


@pytest.mark.slow
def test_eight_jobs_writing_at_once_to_a_new_store_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from descant.run.tracking import Tracker\n"
        "with Tracker.open(Path(sys.argv[1])).job('train', {}, 'job: train') as job:\n"
        "    for step in range(25): job.metrics({'loss': 1 / (1 + step)}, step=step)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    jobs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    errors = [job.communicate(timeout=240)[1] for job in jobs]
    assert errors == [""] * 8
    client = Tracker.open(tmp_path).connection.client
    runs = all_runs(client)
    assert [run.info.status for run in runs] == ["FINISHED"] * 8
    assert [len(client.get_metric_history(run.info.run_id, "loss")) for run in runs] == [25] * 8
