"""A Ray on this machine that stays between commands: started, found again and ended, with token authentication.

Its processes carry a mark in their environment, so that they are found whatever became of who started them, and no
other Ray of the machine is touched (``ray stop`` ends all of them).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from descant.artifacts.commit import write_durably
from descant.artifacts.lease import lease
from descant.core.errors import DependencyError, DescantError
from descant.core.spec import SECRET_KEY
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.folder import cluster_folder
from descant.run.private_ray import (
    ENVIRONMENT,
    INNER,
    new_folder,
    refuse_unsafe_environment,
    token_environment,
)
from descant.run.profile import RayCompute

NAME = "local"
MARK = "DESCANT_CLUSTER"
RECORD, TOKEN, LOG = "cluster.json", "token", "start.log"
START_SECONDS = 120.0
END_SECONDS = 5.0
"""What processes may take to end when they are asked to."""


@dataclass(frozen=True)
class LocalCluster:
    """A cluster that was started here."""

    address: str
    """``host:port`` that drivers connect to, as RAY_ADDRESS."""
    url: str
    """Of the Jobs API and the dashboard, on the loopback address."""
    token: str
    """Path of the file that holds the token."""
    folder: str
    """Ray's own: sockets and logs."""

    @property
    def api(self) -> ClusterApi:
        """Its HTTP interface."""
        return ClusterApi(self.url, Path(self.token))


def find() -> LocalCluster | None:
    """The cluster of this machine, if it is up and answers."""
    try:
        found = LocalCluster(**json.loads((cluster_folder(NAME) / RECORD).read_bytes()))
    except FileNotFoundError:
        return None
    try:
        found.api.get("api/version")
    except DependencyError:
        return None
    return found


def up(compute: RayCompute) -> tuple[LocalCluster, bool]:
    """The cluster of this machine, and whether it was started now.

    Raises BusyError while another command starts or ends it, DependencyError where Ray does not start, with the file
    that says why, PolicyError where the environment would let data files run code.
    """
    refuse_unsafe_environment()
    state = cluster_folder(NAME)
    with lease(state):
        found = find()
        if found is not None:
            return found, False
        _sweep(state)
        return _start(state, compute), True


def down() -> int:
    """End the cluster of this machine and remove what it left; the number of processes that were ended.

    Raises BusyError as ``up``.
    """
    state = cluster_folder(NAME)
    with lease(state):
        return _sweep(state)


def _start(state: Path, compute: RayCompute) -> LocalCluster:
    folder = new_folder()
    environment = {name: value for name, value in os.environ.items() if not SECRET_KEY.search(name)}
    environment |= ENVIRONMENT | token_environment(state / TOKEN)
    environment |= {MARK: str(state), "TMPDIR": str(folder)}
    gcs, dashboard, agent, agent_grpc, client, metrics = _free_ports(6)
    found = LocalCluster("", f"http://127.0.0.1:{dashboard}", str(state / TOKEN), str(folder))
    write_durably(state / RECORD, json.dumps(asdict(found)))  # so that a kill from here on leaves a trace
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"),
        *(f"--port={gcs}", f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--num-cpus={compute.num_cpus}", f"--object-store-memory={compute.object_store_megabytes << 20}"),
        f"--temp-dir={folder / INNER}",
    ]
    try:
        with (state / LOG).open("wb") as log:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                start_new_session=True,  # Ctrl-C here must not reach what stays
                check=True,
            )
        _wait_for(found.api)
    except (subprocess.SubprocessError, DescantError) as error:
        _sweep(state)
        raise DependencyError(
            "E-CLU-START",
            "cluster local",
            f"Ray did not start ({type(error).__name__})",
            f"What it had begun was ended. It says why in {state / LOG}.",
        ) from error
    except BaseException:
        _sweep(state)
        raise
    address = (folder / INNER / "ray_current_cluster").read_text().strip()
    found = LocalCluster(address, found.url, found.token, found.folder)
    write_durably(state / RECORD, json.dumps(asdict(found)))
    return found


def _wait_for(api: ClusterApi) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            api.get("api/version")
            return
        except DependencyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _sweep(state: Path) -> int:
    """End every process with the mark of ``state``, and remove Ray's folder, the token and the record."""
    import psutil

    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(state) and process.pid != os.getpid():
                found |= {process, *process.children(recursive=True)}
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    left = list(found)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                end(process)
        _, left = psutil.wait_procs(left, timeout=END_SECONDS)
    record = state / RECORD
    if record.exists():
        shutil.rmtree(json.loads(record.read_bytes())["folder"], ignore_errors=True)
    for name in (TOKEN, RECORD):
        (state / name).unlink(missing_ok=True)
    return len(found)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
