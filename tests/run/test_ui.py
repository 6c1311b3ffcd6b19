"""The pages of a store: for this machine alone, whatever another site's page tells a browser to send."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from descant.core.errors import ConfigError
from descant.run.mlflow_client import DATABASE
from descant.run.ui import serve
from tests.run.conftest import free_port, wait_until_up

API = "api/2.0/mlflow/experiments"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of ``descant ui``, and its store."""
    store, port = tmp_path_factory.mktemp("store"), free_port()
    MlflowClient(f"sqlite:///{store / DATABASE}").search_experiments()
    process = subprocess.Popen(
        [sys.executable, "-m", "descant.cli", "ui", "--port", str(port), "--store", str(store)],
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process)
        yield port, store
    finally:
        process.terminate()
        process.wait(timeout=30)


def answer(port: int, path: str, headers: dict[str, str], body: dict[str, str] | None = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def experiments(store: Path) -> list[str]:
    return [found.name for found in MlflowClient(f"sqlite:///{store / DATABASE}").search_experiments()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Host": "elsewhere.example"},
        {"Host": "elsewhere.example:5000"},
    ],
)
def test_page_of_another_site_changes_nothing(pages: tuple[int, Path], headers: dict[str, str]) -> None:
    port, store = pages
    asked = {"Content-Type": "application/json"} | headers
    assert answer(port, f"{API}/create", asked, {"name": "planted"}) == 403
    assert "planted" not in experiments(store)


@pytest.mark.slow
def test_page_of_its_own_may_ask(pages: tuple[int, Path]) -> None:
    port, store = pages
    headers = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{port}"}
    assert answer(port, f"{API}/create", headers, {"name": "own"}) == 200
    assert "own" in experiments(store)


@pytest.mark.slow
def test_pages_are_on_the_loopback_address_alone(pages: tuple[int, Path]) -> None:
    listening = [found for found in psutil.net_connections("tcp") if found.status == psutil.CONN_LISTEN]
    assert {found.laddr.ip for found in listening if found.laddr.port == pages[0]} == {"127.0.0.1"}


def test_store_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Run a recipe first"):
        serve(tmp_path, 5000)


def test_runs_of_another_server_are_looked_at_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracking.example")
    with pytest.raises(ConfigError) as raised:
        serve(tmp_path, 5000)
    assert "tracking.example" in str(raised.value)
    assert "secret" not in str(raised.value)
