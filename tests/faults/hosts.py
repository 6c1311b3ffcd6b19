"""Hosts of their own on one machine: network namespaces on a bridge, each with an address, a cable that can be pulled
and a Ray node. Needs the right to make namespaces (``ip netns``).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from descant.run.private_ray import ENVIRONMENT, token_environment
from tests.faults.command import environment
from tests.faults.processes import end

OBJECT_STORE_BYTES = 80 << 20
PORT = 6379
START_SECONDS = 90


def may_make_namespaces() -> bool:
    """Whether this process can make a network namespace."""
    name = f"dprobe{os.getpid()}"
    try:
        if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
            return False
    except FileNotFoundError:
        return False
    return subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False).returncode == 0


class Hosts:
    """A head without CPUs and hosts that work, on one network and in one Ray that asks for a token.

    What a process sees in the folder ``own`` is its node's alone: a disk in memory, empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.own = folder, folder / "own"
        self.own.mkdir()
        self._tag = f"d{os.getpid() % 100_000}"
        self._bridge = f"{self._tag}b"
        self._subnet = f"10.{os.getpid() % 200 + 20}.77"
        self._hosts: list[str] = []
        self._sessions: list[int] = []
        self.variables = ENVIRONMENT | token_environment(folder / "token")
        self.gateway = f"{self._subnet}.1"
        """The address of this machine itself on the hosts' network."""
        self._ip("link", "add", self._bridge, "type", "bridge")
        self._ip("address", "add", f"{self.gateway}/24", "dev", self._bridge)
        self._ip("link", "set", self._bridge, "up")

    def start(self, workers: int, cpus: int) -> None:
        """Start the head and so many workers with ``cpus`` each."""
        head = self._add_host()
        self._start(
            head,
            [
                "--head",
                f"--port={PORT}",
                "--num-cpus=0",
                "--include-dashboard=false",
                f"--temp-dir={self._folder / 'r'}",
            ],
        )
        self.variables["RAY_ADDRESS"] = f"{self._address(head)}:{PORT}"
        for _ in range(workers):
            self.add_worker(cpus)

    def add_worker(self, cpus: int) -> None:
        """One more host."""
        host = self._add_host()
        self._start(host, [f"--address={self.variables['RAY_ADDRESS']}", f"--num-cpus={cpus}"])

    def kill(self, number: int) -> None:
        """Host ``number`` loses its power."""
        end(self._sessions[number])

    @property
    def on_head(self) -> Sequence[str]:
        """What a command on the head begins with."""
        return self._on(self._hosts[0])

    def pull_cable(self, number: int, seconds: float) -> None:
        """Nothing reaches or leaves host ``number`` for a while; its connections stay open."""
        cable = f"{self._hosts[number]}c"
        self._ip("link", "set", cable, "down")
        time.sleep(seconds)
        self._ip("link", "set", cable, "up")

    def close(self) -> None:
        """End everything and take the hosts away."""
        for session in self._sessions:
            end(session)
        for host in self._hosts:
            left = subprocess.run(
                ["ip", "netns", "pids", host], capture_output=True, text=True, check=False
            ).stdout
            for pid in map(int, left.split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", host], check=False)
        subprocess.run(["ip", "link", "del", self._bridge], check=False)

    def _add_host(self) -> str:
        host = f"{self._tag}h{len(self._hosts)}"
        self._hosts.append(host)
        cable = f"{host}c"
        self._ip("netns", "add", host)
        self._ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", host)
        self._ip("link", "set", cable, "master", self._bridge, "up")
        self._ip("-n", host, "address", "add", f"{self._address(host)}/24", "dev", "eth0")
        self._ip("-n", host, "link", "set", "eth0", "up")
        self._ip("-n", host, "link", "set", "lo", "up")
        return host

    def _address(self, host: str) -> str:
        return f"{self._subnet}.{self._hosts.index(host) + 10}"

    def _on(self, host: str) -> Sequence[str]:
        mount = ("sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(self.own))
        return ("ip", "netns", "exec", host, *mount)

    def _start(self, host: str, arguments: Sequence[str]) -> None:
        command = [
            *(*self._on(host), sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(f"--node-ip-address={self._address(host)}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
            *("--disable-usage-stats", *arguments),
        ]
        log = self._folder / f"{host}.txt"
        with log.open("wb") as printed:
            process = subprocess.Popen(
                command,
                env=environment(self._folder, **self.variables),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.append(process.pid)
        deadline = time.monotonic() + START_SECONDS
        # One after the other: two at once would take the same names for their sockets.
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
