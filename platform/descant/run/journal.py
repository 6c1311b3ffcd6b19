"""The journals in which everything meant for MLflow is written down before it is sent.

    spool/<target>/<time>-<process>.jsonl    one record a line, in the order in which it happened
    spool/<target>/<time>-<process>.sent     how many bytes of it MLflow has confirmed

A record is with the operating system when ``append`` returns, so no kill loses it; ``sync`` makes it safe from
a power cut. The owner of a journal holds a lock on it as long as it lives: a journal without one was left
behind, and any later command may take it over.
"""

import fcntl
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from descant.artifacts.commit import storage_errors, sync_folder
from descant.run.loggable import without_credentials

FOLDER = "spool"
SUFFIX = ".jsonl"
CHUNK = 1 << 20

Record = dict[str, Any]


class Journal:
    """One journal, locked by this process. ``append`` may be called from any thread; the rest from one."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._sent_path = path.with_suffix(".sent")
        self._sent = _confirmed(self._sent_path)
        self._synced = 0
        self.unsent = _lines_after(path, self._sent)
        """How many records MLflow has not confirmed."""

    @classmethod
    def create(cls, folder: Path) -> "Journal":
        """A new journal of this process in ``folder``; raises ResourceError where nothing can be written."""
        name = f"{time.time_ns():020d}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        draft = folder / f".{name}"
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # before it has a name that others look for
            path = folder / f"{name}{SUFFIX}"
            draft.rename(path)
            sync_folder(folder)
        return cls(path, descriptor)

    @classmethod
    def take_over(cls, path: Path) -> "Journal | None":
        """The journal at ``path`` if its process is gone and nobody else has taken it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return cls(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def append(self, record: Mapping[str, Any]) -> None:
        """Write ``record`` down; raises ResourceError when the disk takes no more."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                written = os.write(self._descriptor, line)
                while written < len(line):
                    written += os.write(self._descriptor, line[written:])
            except OSError:
                with storage_errors(self.path):
                    raise
            self.unsent += 1

    def sync(self) -> None:
        """Make what was appended safe from a power cut."""
        size = os.fstat(self._descriptor).st_size
        if size > self._synced:
            os.fdatasync(self._descriptor)
            self._synced = size

    def pending(self) -> list[tuple[Record, int]]:
        """The next unconfirmed records, up to about a megabyte, each with the offset at which it ends.

        What follows the last line end was cut off by a kill and is left out.
        """
        size = CHUNK
        while True:
            data = os.pread(self._descriptor, size, self._sent)
            if b"\n" in data or len(data) < size:
                break
            size *= 2
        records, end = [], self._sent
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            end += len(line)
            records.append((json.loads(line), end))
        return records

    def before(self) -> Iterator[Record]:
        """The records that were confirmed already, which name the runs that later ones speak of."""
        with self.path.open("rb") as stream:
            while stream.tell() < self._sent:
                yield json.loads(stream.readline())

    def confirm(self, end: int, number: int) -> None:
        """Note that the next ``number`` records, up to the offset ``end``, have arrived."""
        self._sent_path.write_text(f"{end:020d}")
        with self._lock:
            self._sent = end
            self.unsent -= number

    def close(self) -> None:
        """Let go of the journal; it is removed when all of it has arrived."""
        if not self.unsent:
            self.remove()
        os.close(self._descriptor)

    def remove(self) -> None:
        """Delete the files of the journal."""
        self.path.unlink(missing_ok=True)
        self._sent_path.unlink(missing_ok=True)


def spool_folder(root: Path) -> Path:
    """Where the journals for the present MLflow of the store at ``root`` lie."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    name = hashlib.sha256(without_credentials(uri).encode()).hexdigest()[:12] if uri else "store"
    return root / FOLDER / name


def spooled(root: Path) -> int:
    """How many records wait for the present MLflow of the store at ``root``."""
    return waiting(spool_folder(root))


def journals(folder: Path) -> list[Path]:
    """The journals in ``folder``, oldest first."""
    return sorted(folder.glob(f"[0-9]*{SUFFIX}"))


def waiting(folder: Path) -> int:
    """How many records of all journals in ``folder`` MLflow has not confirmed."""
    return sum(_lines_after(path, _confirmed(path.with_suffix(".sent"))) for path in journals(folder))


def _confirmed(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0  # sending again changes nothing


def _lines_after(path: Path, offset: int) -> int:
    count = 0
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while data := stream.read(CHUNK):
                count += data.count(b"\n")
    except FileNotFoundError:  # sent and removed in between
        return 0
    return count
