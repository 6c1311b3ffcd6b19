"""One writer per address: a lease file says who writes, and a dead owner's lease is taken over."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from descant.core.errors import BusyError

log = logging.getLogger(__name__)

LEASE = "lease.json"


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; raise BusyError while a living process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LEASE
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    while not _create(path, mine):
        _take_over_or_refuse(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path, mine: dict[str, Any]) -> bool:
    temporary = path.with_name(f".{LEASE}.{os.getpid()}")
    temporary.write_text(json.dumps(mine))
    try:
        os.link(temporary, path)  # unlike open('x'), never leaves an empty lease behind
    except (FileExistsError, FileNotFoundError):  # held, or swept by the one who finishes just now
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _take_over_or_refuse(path: Path) -> None:
    try:
        owner = json.loads(path.read_text())
    except FileNotFoundError:
        return
    here = owner["host"] == socket.gethostname()
    if here and _start_of(owner["pid"]) != owner["started"]:
        log.warning("taking over %s from process %s, which is gone", path.parent, owner["pid"])
        stale = path.with_name(f".{LEASE}.stale.{os.getpid()}")
        try:
            path.rename(stale)  # only one of several heirs succeeds
        except FileNotFoundError:
            return
        stale.unlink()
        return
    raise BusyError(
        "E-ART-BUSY",
        str(path.parent),
        f"process {owner['pid']} on {owner['host']} has been writing it since {owner['since']}",
        "Nothing was changed. Wait for that run"
        + ("." if here else f", or delete {path} if that host is gone for good."),
    )


def _start_of(pid: int) -> str | None:
    """When the process started, in clock ticks since boot (tells a reused pid apart); None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return status.rpartition(")")[2].split()[19]
