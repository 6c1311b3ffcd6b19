"""The processes of one session: to find those of a run, to kill one of them, and to see that none is left."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def processes(session: int) -> dict[int, str]:
    """Command lines of the living processes of ``session``, by id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(sid) == session and state != "Z":
            found[int(folder.name)] = command
    return found


def kill_when(process: "subprocess.Popen[bytes]", condition: Callable[[], bool], name: str = "") -> str:
    """Once ``condition`` holds, SIGKILL the session's first process called ``name``, its leader by default.

    Returns the command line of what was killed; fails when the run ends before.
    """
    while not condition():
        assert process.poll() is None, "the run ended before it could be disturbed"
        time.sleep(0.02)
    named = {pid: line for pid, line in processes(process.pid).items() if line.startswith(name)}
    victim = min(named) if name else process.pid
    os.kill(victim, signal.SIGKILL)
    if victim == process.pid:
        process.wait()
    return named[victim]


def left_after(session: int, *, seconds: float, name: str = "") -> dict[int, str]:
    """Processes of ``session``, those called ``name``, that are still there after at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        left = {pid: line for pid, line in processes(session).items() if line.startswith(name)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def end(session: int) -> None:
    """Kill what is left of ``session``."""
    for pid in processes(session):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
