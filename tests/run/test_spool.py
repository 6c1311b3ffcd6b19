import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from descant.core.errors import ConfigError, DependencyError
from descant.run import spool
from descant.run.journal import Journal, spool_folder, spooled
from descant.run.mlflow_client import DATABASE
from descant.run.tracking import Tracker, send_spooled

from .conftest import free_port, start_server
from .proxy import Mode, Proxy

RECIPE = "job: train\n"


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The server behind a proxy, as the tracking address of this test, with an experiment of its own."""
    made = Proxy(int(server.rsplit(":", 1)[1]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"spool-{made.port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    yield made
    made.set("pass")


def tree(server: str, proxy: Proxy) -> dict[str, tuple[str, int]]:
    """Every run of the test's experiment by name: its status and how many points its loss has."""
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(f"spool-{proxy.port}")
    runs = [] if experiment is None else list(client.search_runs([experiment.experiment_id]))
    assert max(Counter(run.info.run_name for run in runs).values(), default=1) == 1
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        assert len(steps) == len(set(steps))
    return {
        run.info.run_name: (run.info.status, len(client.get_metric_history(run.info.run_id, "loss")))
        for run in runs
    }


def send_all(root: Path) -> None:
    deadline = time.monotonic() + 60
    while send_spooled(root) and time.monotonic() < deadline:
        time.sleep(0.5)  # a request that hangs still holds the journal
    assert spooled(root) == 0


FAULTS: list[Mode] = ["refuse", "hang", "error", "flap", "mute"]


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_that_passes_midway_loses_and_doubles_nothing(
    tmp_path: Path, server: str, proxy: Proxy, fault: Mode
) -> None:
    with Tracker.open(tmp_path).job("train", {"rank": 8}, RECIPE) as job:
        job.metrics({"loss": 3.0}, step=0)
        assert job.connection
        proxy.set(fault)
        begun = time.monotonic()
        for step in range(1, 201):
            job.metrics({"loss": 3 / step}, step=step)
        with job.stage("evaluate", "ab", {"k": 1}) as stage:
            stage.metrics({"loss": 0.5})
        assert time.monotonic() - begun < 1
        time.sleep(3)
        proxy.set("pass")
    assert job.spooled == 0
    assert tree(server, proxy) == {"train": ("FINISHED", 201), "evaluate": ("FINISHED", 1)}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_from_the_start_to_the_end_leaves_records_that_the_next_command_sends(
    tmp_path: Path, server: str, proxy: Proxy, fault: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 1.5)
    proxy.set(fault)
    with Tracker.open(tmp_path).job("train", {"rank": 8}, RECIPE) as job:
        for step in range(50):
            job.metrics({"loss": 3 / (1 + step)}, step=step)
        with job.stage("evaluate", "ab", {"k": 1}) as stage:
            stage.metrics({"loss": 0.5})
    waiting = job.spooled
    assert waiting == spooled(tmp_path)
    assert waiting > 0 or fault == "flap"
    proxy.set("pass")
    send_all(tmp_path)
    assert tree(server, proxy) == {"train": ("FINISHED", 50), "evaluate": ("FINISHED", 1)}
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(f"spool-{proxy.port}")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["train"].data.params == {"rank": "8"}
    assert runs["evaluate"].data.tags["mlflow.parentRunId"] == runs["train"].info.run_id
    files = {file.path for file in client.list_artifacts(runs["train"].info.run_id)}
    assert files == {"spec.json", "recipe.yaml"}


def test_server_that_hangs_throughout_costs_a_job_ten_seconds_at_most(tmp_path: Path, proxy: Proxy) -> None:
    with Tracker.open(tmp_path).job("first", {}, RECIPE):
        pass  # imports are not what is measured
    proxy.set("hang")
    begun = time.monotonic()
    with Tracker.open(tmp_path).job("train", {}, RECIPE) as job:
        for number in range(20):
            with job.stage(f"stage {number}", "ab", {}) as stage:
                stage.metrics({"loss": 1.0})
    assert time.monotonic() - begun < 11.5
    assert job.spooled > 80


def test_strict_refuses_before_the_job_where_no_server_answers(
    tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCANT_TRACKING", "strict")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:canary@127.0.0.1:{proxy.port}")
    proxy.set("refuse")
    with (
        pytest.raises(DependencyError, match=r"127\.0\.0\.1") as caught,
        Tracker.open(tmp_path).job("train", {}, RECIPE),
    ):
        raise AssertionError("the job was begun")
    assert caught.value.exit_code == 7
    assert "canary" not in str(caught.value)
    assert spooled(tmp_path) == 0


def test_strict_ends_with_an_error_that_keeps_what_was_not_sent(
    tmp_path: Path, server: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCANT_TRACKING", "strict")

    def run() -> None:
        with Tracker.open(tmp_path).job("train", {}, RECIPE) as job:
            assert job.connection
            proxy.set("refuse")
            job.metrics({"loss": 1.0})

    with pytest.raises(DependencyError, match="2 records") as caught:
        run()
    assert caught.value.exit_code == 7
    proxy.set("pass")
    send_all(tmp_path)
    assert tree(server, proxy) == {"train": ("FINISHED", 1)}


def test_setting_that_there_is_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_TRACKING", "yes")
    with pytest.raises(ConfigError, match="strict"):
        Tracker.open(tmp_path)


def test_journal_that_is_sent_a_second_time_changes_nothing(
    tmp_path: Path, server: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 1.0)
    proxy.set("refuse")
    with Tracker.open(tmp_path).job("train", {"rank": 8}, RECIPE) as job:
        for step in range(20):
            job.metrics({"loss": 1.0}, step=step)
    journal = next(spool_folder(tmp_path).glob("*.jsonl"))
    kept = Path(shutil.copy(journal, tmp_path / "kept"))
    proxy.set("pass")
    for _ in range(2):
        send_all(tmp_path)
        assert tree(server, proxy) == {"train": ("FINISHED", 20)}
        shutil.copy(kept, journal)
    send_all(tmp_path)


def test_job_killed_while_the_server_was_away_is_sent_and_closed_later(
    tmp_path: Path, server: str, proxy: Proxy
) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from descant.run import spool, tracking\n"
        "spool.PATIENCE = 1\n"
        "with tracking.Tracker.open(Path(sys.argv[1])).job('train', {}, 'job: train') as job:\n"
        "    for step in range(20): job.metrics({'loss': 1.0}, step=step)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    proxy.set("refuse")
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=120)
    with next(spool_folder(tmp_path).glob("*.jsonl")).open("a") as stream:
        stream.write('{"do":"metr')  # as a kill in the middle of a line leaves it
    proxy.set("pass")
    send_all(tmp_path)
    assert tree(server, proxy) == {"train": ("KILLED", 20)}


def test_record_that_mlflow_never_takes_is_kept_aside_and_holds_nothing_up(root: Path) -> None:
    with Tracker.open(root).job("train", {"rank": 8}, RECIPE) as job:
        job.params({"rank": 16})  # a param cannot be changed
        job.metrics({"loss": 1.0})
    assert job.spooled == 0
    client = Tracker.open(root).connection.client
    assert client.get_run(job.run_id).data.metrics == {"loss": 1.0}
    refused = json.loads((spool_folder(root) / "refused.jsonl").read_text())
    assert refused["values"] == {"rank": "16"}
    assert "rank" in refused["reason"]


def test_journal_of_a_living_process_is_not_taken_over(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append({"do": "tags", "run": "ab", "values": {}})
    assert Journal.take_over(journal.path) is None
    journal.close()
    left = Journal.take_over(journal.path)
    assert left is not None
    [(record, end)] = left.pending()
    left.confirm(end, 1)
    left.close()
    assert record["run"] == "ab"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_server_that_is_killed_and_started_again_on_its_database_has_every_point_once(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, port = tmp_path / "server", free_port()
    home.mkdir()
    shutil.copy(empty_database, home / DATABASE)
    process = start_server(home, port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    try:
        with Tracker.open(tmp_path / "store").job("train", {}, RECIPE) as job:
            for step in range(300):
                job.metrics({"loss": 1 / (1 + step)}, step=step)
                time.sleep(0.01)
                if step == 150:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    time.sleep(2)
        assert job.spooled > 100
        process = start_server(home, port)
        send_all(tmp_path / "store")
        client = MlflowClient(f"http://127.0.0.1:{port}")
        [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        points = client.get_metric_history(run.info.run_id, "loss")
        assert sorted(point.step for point in points) == list(range(300))
        assert run.info.status == "FINISHED"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
