"""Between a job and MLflow: records go to a journal at once, and a thread of this process sends them.

The job never waits for a request. It waits at its start and at its end, and then no longer than ``PATIENCE``
without progress; what MLflow has not taken by then stays in the journal, for the next command that opens it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from descant.core.errors import ConfigError, DependencyError, DescantError
from descant.run.journal import Journal, Record, journals, spool_folder, waiting
from descant.run.loggable import without_credentials
from descant.run.mlflow_client import Connection, answering, connect, experiment_name, prepare, tracking_uri
from descant.run.replay import NewRun, Replay, batches

log = logging.getLogger(__name__)

REFUSED = "refused.jsonl"
PATIENCE = 5.0
"""Seconds without progress after which a server counts as away."""
LOCAL_PATIENCE = 60.0
"""The same for the database in the store, which other processes may keep busy."""
LONGEST_WAIT = 600.0
"""Seconds for everything, while there is progress."""
LINGER = 0.5
"""Seconds between two sends, in which metrics gather."""
LONGEST_PAUSE = 30.0
RETRY = 0.2
FAILURES = 3
"""Attempts that may fail while somebody waits, ``RETRY`` seconds apart."""
FINAL = frozenset(
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}
)
"""What MLflow answers to a record that it will never take."""


KEPT = (
    "Finished results are kept. Start that server, or unset MLFLOW_TRACKING_URI to use the store's own database, "
    "and run the same command."
)


class Spool:
    """The journal of one job in one process, and the thread that sends it.

    With ``leads`` set, the thread first sends what other processes left behind, and closes their runs.
    """

    def __init__(self, root: Path, experiment: str | None = None, *, leads: bool = True) -> None:
        prepare()
        self.experiment = experiment_name(experiment)
        self.folder = spool_folder(root)
        self.open_runs: dict[str, NewRun] = {}
        """The runs that this process opened and has not closed."""
        self._root, self._leads, self._adopted = root, leads, not leads
        self._uri = tracking_uri(root)
        self._address = without_credentials(self._uri)
        self.is_local = not os.environ.get("MLFLOW_TRACKING_URI")
        """Whether runs are kept in the store's own database, which is slow at times but never away."""
        self._patience = LOCAL_PATIENCE if self.is_local else PATIENCE
        self._journal = Journal.create(self.folder)
        self._replay: Replay | None = None
        self._changed = threading.Condition()
        self._failure: DescantError | None = None
        self._failures = self._progress = 0
        self._hurry = self._stop = False
        self._thread = threading.Thread(target=self._work, name="descant-spool", daemon=True)
        self._thread.start()

    def append(self, do: str, key: str, **values: Any) -> None:
        """Write a record down; it is sent within a second while MLflow answers."""
        self._journal.append({"do": do, "run": key, **values})

    @property
    def failure(self) -> DescantError | None:
        """Why the last attempt to send did not succeed; None when it did."""
        return self._failure

    def settle(self, at_most: float | None = None) -> bool:
        """Wait until everything has arrived; False when MLflow makes no progress or ``at_most`` seconds are over.

        Raises ConfigError as ``connect`` does.
        """
        return self._wait(lambda: self._adopted and not self._journal.unsent, at_most)

    def connection(self) -> Connection:
        """The connection once everything has arrived; DependencyError when MLflow does not answer."""
        if not self.settle() or self._replay is None:
            raise self._failure or _no_progress(self._address)
        return self._replay.connection

    def run_id(self, key: str) -> str:
        """MLflow's id of the run ``key``; DependencyError when MLflow has not answered yet."""

        def known() -> bool:
            return self._replay is not None and key in self._replay.ids

        if not known() and not self._wait(known):
            raise self._failure or _no_progress(self._address)
        assert self._replay is not None
        return self._replay.ids[key]

    def discard(self) -> None:
        """Forget a job that was not begun."""
        self._end()
        self._journal.remove()

    def finish(self) -> int:
        """Send what is left, of processes that have ended since too; the number of records that stay behind."""
        self._adopted = not self._leads
        try:
            self.settle()
        except ConfigError as error:
            log.warning("%s", error)
        self._end()
        return waiting(self.folder)

    def release(self) -> None:
        """Wait for nothing: the thread goes on until all is sent or the process ends, then a leader takes over."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def _end(self) -> None:
        self.release()
        self._thread.join(timeout=0.2)

    def _wait(self, ready: Callable[[], bool], at_most: float | None = None) -> bool:
        with self._changed:
            progress, failures = self._progress, self._failures
            end = time.monotonic() + (LONGEST_WAIT if at_most is None else at_most)
            deadline = time.monotonic() + self._patience
            while not ready():
                if isinstance(self._failure, ConfigError):
                    raise self._failure
                if self._progress != progress:
                    progress, deadline = self._progress, time.monotonic() + self._patience
                left = min(deadline, end) - time.monotonic()
                if left <= 0 or self._failures - failures >= FAILURES or not self._thread.is_alive():
                    return False
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait(min(left, 0.2))
            return True

    def _work(self) -> None:
        pause = LINGER
        while True:
            with self._changed:
                if not self._hurry and not self._stop:
                    self._changed.wait(pause)
                elif self._failure is not None:
                    self._changed.wait(RETRY)
                self._hurry = False
            failure = self._attempt()
            with self._changed:
                self._failure = failure
                self._failures += failure is not None
                pause = LINGER if failure is None else min(max(1.0, 2 * pause), LONGEST_PAUSE)
                done = self._stop and (failure is not None or not self._journal.unsent)
                self._changed.notify_all()
            if done:
                self._journal.close()
                return

    def _attempt(self) -> DescantError | None:
        try:
            self._journal.sync()
            self._send_all()
        except DescantError as error:
            return error
        except Exception as error:  # whatever a database driver raises, it must never reach the training
            return DependencyError(
                "E-TRK-MLFLOW", self._address, f"{type(error).__name__}: {error}"[:300], KEPT
            )
        return None

    def _send_all(self) -> None:
        if self._replay is None:
            self._replay = Replay(connect(self._root, self.experiment), self.folder / "lock")
            self._advance()
        if not self._adopted:
            for path in journals(self.folder):
                left = Journal.take_over(path)
                if left is not None:
                    try:
                        self._drain(left)
                    finally:
                        left.close()
            with answering(self._uri):
                self._replay.close_abandoned()
            self._adopted = True
        self._drain(self._journal)

    def _drain(self, journal: Journal) -> None:
        assert self._replay is not None
        for record in journal.before():
            self._replay.learn(record)
        while pending := journal.pending():
            for batch, end in batches(pending):
                self._send(batch)
                journal.confirm(end, len(batch))
                self._advance()

    def _send(self, batch: Sequence[Record], *, again: bool = True) -> None:
        from mlflow.exceptions import MlflowException

        assert self._replay is not None
        with answering(self._uri):
            try:
                self._replay.send(batch)
            except MlflowException as error:
                if error.error_code not in FINAL:
                    raise
                if (
                    again
                    and error.error_code == "RESOURCE_DOES_NOT_EXIST"
                    and self._replay.forget(batch[0]["run"])
                ):
                    self._send(batch, again=False)  # MLflow lost the run: a database was put back or replaced
                elif len(batch) > 1:
                    for record in batch:
                        self._send([record], again=False)
                else:
                    self._refused(batch[0], str(error))

    def _refused(self, record: Record, reason: str) -> None:
        """Keep what MLflow will never take, so that it does not hold up what follows."""
        reason = without_credentials(reason)[:300]
        with (self.folder / REFUSED).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"reason": reason, **record}, ensure_ascii=False) + "\n")
        log.warning("MLflow refused a record, it is kept in %s: %s", self.folder / REFUSED, reason)

    def _advance(self) -> None:
        with self._changed:
            self._progress += 1
            self._changed.notify_all()


def _no_progress(address: str) -> DependencyError:
    return DependencyError("E-TRK-MLFLOW", address, f"MLflow did not answer within {PATIENCE:.0f} s", KEPT)
