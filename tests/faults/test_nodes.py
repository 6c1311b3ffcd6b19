"""Several nodes: the results of one, whatever becomes of the others meanwhile."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from descant.run.private_ray import ENVIRONMENT, token_environment
from tests.faults.command import environment, new_home, output
from tests.faults.hosts import Hosts, may_make_namespaces
from tests.faults.processes import end
from tests.faults.runs import Home, assert_kept, assert_resumed, assert_same

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

COMPUTE = """\
embed: {workers: 2, cpus: 1.6, threads: 1}
train: {workers: 2, cpus_per_worker: 1.6, zero: 1}
"""
CPUS = 3
"""Of a node: room for one of the two workers of a stage, so that two nodes work at everything."""
ENDED_SECONDS = 90


class Nodes:
    """A head and two worker nodes that ask for a token, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.variables = ENVIRONMENT | token_environment(folder / "token")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.cluster_process", "2", str(CPUS)],
            env=environment(folder, **self.variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "cluster.txt").open("wb"),
            text=True,
            start_new_session=True,
        )
        self.variables["RAY_ADDRESS"] = self._answer()

    def kill_a_worker(self) -> None:
        self._tell("kill")

    def add_a_worker(self) -> None:
        self._tell("add")

    def kill(self) -> None:
        """All of it at once, as a machine that loses power."""
        end(self._process.pid)
        self._process.communicate()

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def run() -> Iterator[Home]:
    home = Home(COMPUTE)
    yield home
    home.close()


@pytest.fixture
def nodes() -> Iterator[Callable[[], Nodes]]:
    """Starts nodes; all of them end with the test."""
    started: list[Nodes] = []

    def start() -> Nodes:
        started.append(Nodes(new_home()))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def wait_until(process: "subprocess.Popen[bytes]", folder: Path, condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before it could be disturbed\n" + output(folder)
        time.sleep(0.02)


def test_nodes_lost_in_embedding_and_in_training_change_nothing(
    golden: Home, run: Home, nodes: Callable[[], Nodes]
) -> None:
    cluster = nodes()
    process = run.start(**cluster.variables)
    wait_until(process, run.folder, lambda: len(run.entries()) >= 5)
    before = run.entries()
    cluster.kill_a_worker()
    cluster.add_a_worker()
    wait_until(process, run.folder, lambda: run.steps() >= 7)
    seen = run.steps()
    cluster.kill_a_worker()
    cluster.add_a_worker()
    run.finish(process)
    assert_kept(before, run)
    assert_resumed(run, seen)
    assert_same(golden, run)


def test_head_lost_in_training_and_the_same_command_on_new_nodes_changes_nothing(
    golden: Home, run: Home, nodes: Callable[[], Nodes]
) -> None:
    first = nodes()
    process = run.start(**first.variables)
    wait_until(process, run.folder, lambda: run.steps() >= 7)
    before, seen = run.entries(), run.steps()
    first.kill()
    assert process.wait(timeout=ENDED_SECONDS) == 7, output(run.folder)
    assert "run the same command to resume" in output(run.folder)
    run.finish(run.start(**nodes().variables))
    assert_kept(before, run)
    assert_resumed(run, seen)
    assert_same(golden, run)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if not may_make_namespaces():
        pytest.skip("network namespaces cannot be made here")
    folder = new_home()
    made = Hosts(folder)
    try:
        made.start(workers=2, cpus=CPUS)
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.netns
def test_ten_seconds_without_network_in_embedding_and_in_training_change_nothing(
    golden: Home, run: Home, hosts: Hosts
) -> None:
    """Hosts of their own: what was a pipe or a loopback address before goes over a network that fails."""
    process = run.start(*hosts.on_head, **hosts.variables)
    wait_until(process, run.folder, lambda: len(run.entries()) >= 5)
    before = run.entries()
    hosts.pull_cable(1, seconds=10)
    wait_until(process, run.folder, lambda: run.steps() >= 7)
    hosts.pull_cable(2, seconds=10)
    run.finish(process)
    assert_kept(before, run)
    assert_same(golden, run)
