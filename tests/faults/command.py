"""Running ``descant`` as a user does: a process of its own with its own home, temporary folder and session."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, both streams together, wall seconds and peak memory of the process."""

    code: int
    text: str
    seconds: float
    megabytes: float


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


def start(folder: Path, *arguments: str | Path, **variables: str) -> "subprocess.Popen[bytes]":
    """``descant`` with ``arguments``, leader of a new session; its output goes to ``folder/output.txt``."""
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "descant.cli", *map(str, arguments)],
            cwd=ROOT,
            env=environment(folder, **variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def descant(folder: Path, *arguments: str | Path, **variables: str) -> Ended:
    """Run ``descant`` to its end."""
    started = time.monotonic()
    process = start(folder, *arguments, **variables)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "output.txt").read_text("utf-8", "backslashreplace")
    return Ended(process.returncode, text, time.monotonic() - started, usage.ru_maxrss / 1024)


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
