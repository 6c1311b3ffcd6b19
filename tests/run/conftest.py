import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from descant.run.mlflow_client import DATABASE


@pytest.fixture(autouse=True)
def _no_outside_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MLflow database without experiments: creating one takes a second, copying it nothing."""
    path = tmp_path_factory.mktemp("mlflow") / DATABASE
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def root(tmp_path: Path, empty_database: Path) -> Path:
    """The folder of a store that already has its tracking database."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(empty_database, folder / DATABASE)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def closed_port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, empty_database: Path) -> Iterator[str]:
    """The address of a MLflow server of its own."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    home = tmp_path / "server"
    home.mkdir()
    shutil.copy(empty_database, home / DATABASE)
    places = [
        "--backend-store-uri",
        f"sqlite:///{home / DATABASE}",
        "--artifacts-destination",
        f"{home}/files",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *places],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(uri, process)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_up(uri: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            MlflowClient(uri).search_experiments(max_results=1)
        except MlflowException:
            time.sleep(0.3)
        else:
            return
    raise AssertionError("the MLflow server did not come up")
