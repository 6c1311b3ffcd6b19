"""Running ``descant`` as a user does: a process of its own with its own home, temporary folder and session."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DESCANT = (sys.executable, "-m", "descant.cli")
MEASURED = (  # a process in between, since a child's peak memory starts at that of its parent
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]);"
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"
)


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, both streams together, wall seconds and peak memory of the process."""

    code: int
    text: str
    seconds: float
    megabytes: float


def new_home() -> Path:
    """An empty folder directly under ``/tmp``."""
    return Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What the command sees: offline, one thread, nothing of this machine's home; temporary files in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DESCANT_", "RAY_"))}
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return kept | {
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "DESCANT_STORE": str(folder / "store"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUTF8": "1",
        **variables,
    }


def start(
    folder: Path, *arguments: str | Path, before: Sequence[str] = (), **variables: str
) -> "subprocess.Popen[bytes]":
    """``descant`` with ``arguments``, leader of a new session; its output goes to ``folder/output.txt``.

    ``before`` is a command that runs another one, such as ``ip netns exec NAME``.
    """
    return _start(folder, [*before, *DESCANT, *map(str, arguments)], variables)


def descant(folder: Path, *arguments: str | Path, **variables: str) -> Ended:
    """Run ``descant`` to its end."""
    started = time.monotonic()
    peak = folder / "peak.txt"
    command = [sys.executable, "-c", MEASURED, str(peak), *DESCANT, *map(str, arguments)]
    code = _start(folder, command, variables).wait()
    return Ended(code, output(folder), time.monotonic() - started, int(peak.read_text()) / 1024)


def output(folder: Path) -> str:
    """What the last command wrote to the terminal."""
    return (folder / "output.txt").read_text("utf-8", "backslashreplace")


def _start(folder: Path, command: list[str], variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "output.txt").open("wb") as written:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(folder, **variables),
            stdout=written,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def assert_refused(ended: Ended, code: int, rule: str, *parts: str) -> None:
    """The exit code and a message of four parts: rule, object, found against expected, state and next step."""
    assert ended.code == code, ended.text
    assert "Traceback" not in ended.text
    assert f"error[{rule}] " in ended.text, ended.text
    message = " ".join(ended.text.split())
    for part in parts:
        assert part in message, f"{part!r} is not in {message!r}"


def nothing_started(folder: Path) -> bool:
    """Whether neither Ray nor a store has left a trace under ``folder``."""
    return not any((folder / "tmp").iterdir()) and not (folder / "store").exists()
