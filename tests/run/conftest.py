import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from descant.artifacts.models import TinyModel
from descant.models.encoder import EncoderSpec
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """The address of a MLflow server on the loopback interface."""
    port, home = free_port(), tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, home / DATABASE)
    process = start_server(home, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def start_server(home: Path, port: int) -> "subprocess.Popen[bytes]":
    """A MLflow server over the database and the files in ``home``, once it answers."""
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
        start_new_session=True,
    )
    wait_until_up(f"http://127.0.0.1:{port}", process)
    return process


def wait_until_up(uri: str, process: "subprocess.Popen[bytes]") -> None:
    """Return once the MLflow server of ``process`` answers at ``uri``."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the MLflow server did not come up")


def make_retriever(folder: Path, spec: EncoderSpec, seed: int) -> Path:
    """A retriever folder of a tiny model with a LoRA adapter of random weights, so that it does something."""
    import torch
    from peft import LoraConfig, get_peft_model

    from descant.models.load import load_model
    from descant.models.retriever import save_retriever

    model, _ = load_model(spec.model)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
        elif "lora_A" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) / 8
    adapter = folder.with_name(f"{folder.name}-adapter")
    adapted.save_pretrained(str(adapter))
    save_retriever(folder, spec, adapter=adapter)
    return folder


@pytest.fixture(scope="session")
def retrievers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three retrievers of one base with different adapters; tests copy what they change."""
    home = tmp_path_factory.mktemp("retrievers")
    spec = EncoderSpec(model=TinyModel(architecture="bert"), pooling="mean")
    first, second, third = (make_retriever(home / f"seed-{seed}", spec, seed) for seed in range(3))
    return first, second, third
