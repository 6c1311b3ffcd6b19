"""A cluster that is asked over HTTP: what the plan shows of it, and what is refused before anything is sent."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from descant.cli import app
from descant.core.errors import ResourceError
from descant.run.clusters.reach import reach
from descant.run.clusters.submission import submit
from descant.run.job import load_recipe
from descant.run.profile import Profile

SMOKE = Path(__file__).parents[2] / "jobs" / "recipes" / "finetune_retriever" / "smoke.yaml"


class TwoNodes(BaseHTTPRequestHandler):
    """The HTTP interface of a cluster of a head with half a CPU, a node with 3 CPUs, and a dead one with 64."""

    asked: list[str]
    nodes = ((0.5, 0, "ALIVE"), (3.0, 0, "ALIVE"), (64.0, 8, "DEAD"))

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        answer: Any = []
        if self.path == "/api/version":
            answer = {"ray_version": version("ray")}
        elif self.path.startswith("/nodes"):
            answer = {"data": {"summary": [self.node(i, *one) for i, one in enumerate(self.nodes)]}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_POST = do_PUT = do_GET

    def node(self, number: int, cpus: float, gpus: float, state: str) -> dict[str, Any]:
        has = {"CPU": cpus, "memory": 2.0**33} | ({"GPU": gpus} if gpus else {})
        found = {"nodeManagerAddress": f"192.0.2.{number}", "isHeadNode": number == 0, "state": state}
        return {"raylet": found | {"resourcesTotal": has, "startTimeMs": "1763800000000"}}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A folder that describes a running ``TwoNodes``."""
    TwoNodes.asked = []
    (tmp_path / "token").touch(0o600)
    with ThreadingHTTPServer(("127.0.0.1", 0), TwoNodes) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        (tmp_path / "cluster.yaml").write_text(
            f"kind: ray\naccess:\n  url: http://127.0.0.1:{running.server_port}\n"
            f"  token_file: {tmp_path / 'token'}\n  store: /mnt/store\n"
        )
        yield tmp_path
        running.shutdown()


def plan(cluster: Path, recipe: Path, profile: str) -> Any:
    (cluster / "compute.yaml").write_text(profile)
    arguments = ["plan", str(recipe), "--cluster", str(cluster), "--store", str(cluster / "store")]
    return CliRunner().invoke(app, arguments)


def test_plan_shows_requests_nodes_and_memory(cluster: Path) -> None:
    ended = plan(cluster, SMOKE, "train: {workers: 2}\nembed: {workers: 9, cpus: 1}\n")
    assert ended.exit_code == 0, ended.output
    assert "9 x 1 CPU, room for 3" in " ".join(ended.output.split())
    assert "2 x 1 CPU" in ended.output
    assert "192.0.2.1" in ended.output
    lines = ended.output.splitlines()
    memory = lines[next(i for i, line in enumerate(lines) if line.startswith("memory of a worker")) :]
    trained = next(line for line in memory if line.startswith("train "))
    assert "KiB" in trained
    assert "about" in trained
    assert not (cluster / "store").exists(), "a plan must write nothing"


def test_plan_refuses_what_the_living_nodes_never_hold_after_showing_them(cluster: Path) -> None:
    ended = plan(cluster, SMOKE, "train: {workers: 4}\n")
    assert isinstance(ended.exception, ResourceError)
    assert "asks for 4 x 1 CPU together, the cluster has room for 3" in str(ended.exception)
    assert "192.0.2.1" in ended.output


def test_plan_of_a_cluster_that_adds_nodes_refuses_nothing_and_says_so(cluster: Path) -> None:
    ended = plan(cluster, SMOKE, "autoscales: true\ntrain: {workers: 4}\n")
    assert ended.exit_code == 0
    assert "adds nodes by itself" in ended.output


def test_submission_without_room_is_refused_before_anything_is_sent(cluster: Path) -> None:
    profile = Profile.model_validate({"train": {"workers": 4}})
    with pytest.raises(ResourceError, match="E-PLC-ROOM"):
        submit(reach(str(cluster)), load_recipe(SMOKE), "/mnt/store", profile, [])
    assert [one for one in TwoNodes.asked if not one.startswith("GET")] == []
    assert TwoNodes.asked[-1].startswith("GET /api/jobs/")
