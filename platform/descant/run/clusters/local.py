"""A Ray on this machine that stays between commands: started, found again and ended, with token authentication.

Its processes carry a mark, so that no other Ray of the machine is touched (``ray stop`` ends all of them).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from descant.artifacts.commit import write_durably
from descant.artifacts.lease import lease
from descant.core.errors import DependencyError
from descant.core.spec import SECRET_KEY
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.folder import cluster_folder
from descant.run.clusters.names import LOCAL
from descant.run.private_ray import (
    ENVIRONMENT,
    INNER,
    new_folder,
    refuse_unsafe_environment,
    token_environment,
)
from descant.run.profile import RayCompute

MARK = "DESCANT_CLUSTER"
"""The variable that marks its processes; its value is the folder in which descant remembers the cluster."""
RECORD, TOKEN, LOG = "cluster.json", "token", "start.log"
START_SECONDS = 120.0
"""What Ray may take to start, and its HTTP interface to answer after that."""
POLL_SECONDS = 0.2
STOP_SECONDS = 30
"""What a job that is stopped has to leave things as they should be, before it is killed."""


@dataclass(frozen=True)
class LocalCluster:
    """A cluster that was started here."""

    url: str
    """Of the Jobs API and the dashboard, on the loopback address."""
    token: str
    """Path of the file that holds the token."""
    folder: str
    """Ray's own: sockets and logs."""

    @property
    def address(self) -> str:
        """``host:port`` that drivers connect to, as RAY_ADDRESS."""
        return (Path(self.folder) / INNER / "ray_current_cluster").read_text().strip()

    @property
    def api(self) -> ClusterApi:
        """Its HTTP interface."""
        return ClusterApi(self.url, Path(self.token))


def find() -> LocalCluster | None:
    """The cluster of this machine, if it is up and answers; PolicyError where others can read its token."""
    found = _recorded(cluster_folder(LOCAL))
    return found if found is not None and _answers(found.api) else None


def up(compute: RayCompute) -> tuple[LocalCluster, bool]:
    """The cluster of this machine, and whether it was started now.

    Raises BusyError while another command starts or ends it, DependencyError where Ray does not start, with the file
    that says why, PolicyError as ``find`` and where the environment would let data files run code.
    """
    refuse_unsafe_environment()
    state = cluster_folder(LOCAL)
    with lease(state):
        found = find()
        if found is not None:
            return found, False
        _remove(state)
        with ExitStack() as unless_up:
            unless_up.callback(_remove, state)
            started = _started(state, compute)
            unless_up.pop_all()
        return started, True


def down() -> int:
    """End the cluster of this machine and remove what it left; the number of processes that were ended.

    Raises BusyError as ``up``.
    """
    state = cluster_folder(LOCAL)
    with lease(state):
        return _remove(state)


def _started(state: Path, compute: RayCompute) -> LocalCluster:
    folder = new_folder()
    gcs, dashboard, agent, agent_grpc, client, metrics = _free_ports(6)
    cluster = LocalCluster(f"http://127.0.0.1:{dashboard}", str(state / TOKEN), str(folder))
    write_durably(state / RECORD, json.dumps(asdict(cluster)))  # first, so that a kill leaves a trace
    environment = {name: value for name, value in os.environ.items() if not SECRET_KEY.search(name)}
    environment |= ENVIRONMENT | token_environment(state / TOKEN)
    environment |= {MARK: str(state), "TMPDIR": str(folder), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"),
        *(f"--port={gcs}", f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--num-cpus={compute.num_cpus}", f"--object-store-memory={compute.object_store_megabytes << 20}"),
        f"--temp-dir={folder / INNER}",
    ]
    log = state / LOG
    try:
        with log.open("wb") as printed:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                start_new_session=True,  # Ctrl-C here must not reach what stays
                check=True,
            )
    except subprocess.CalledProcessError as error:
        raise _not_started(f"Ray ended with {error.returncode}", log) from None
    except subprocess.TimeoutExpired:
        raise _not_started(f"Ray had not started after {START_SECONDS:g} seconds", log) from None
    deadline = time.monotonic() + START_SECONDS
    while not _answers(cluster.api):
        if time.monotonic() > deadline:
            raise _not_started(f"nothing answers at {cluster.url} after {START_SECONDS:g} seconds", log)
        time.sleep(POLL_SECONDS)
    return cluster


def _not_started(problem: str, log: Path) -> DependencyError:
    state = f"What had begun was ended. Ray says why in {log}."
    return DependencyError("E-CLU-START", f"cluster {LOCAL}", problem, state)


def _recorded(state: Path) -> LocalCluster | None:
    try:
        return LocalCluster(**json.loads((state / RECORD).read_bytes()))
    except FileNotFoundError:
        return None


def _answers(api: ClusterApi) -> bool:
    try:
        api.get("api/version")
    except DependencyError:
        return False
    return True


def _remove(state: Path) -> int:
    """End its processes, and remove Ray's folder, the token and the record; how many processes there were."""
    from descant.run.clusters.marked import end_marked

    number = end_marked(MARK, str(state))
    recorded = _recorded(state)
    if recorded is not None:
        shutil.rmtree(recorded.folder, ignore_errors=True)
    for name in (TOKEN, RECORD):
        (state / name).unlink(missing_ok=True)
    return number


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
