"""Open runs: what can be logged to them, and the runs below them."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from descant.artifacts.provenance import code_of, provenance
from descant.core.errors import DescantError, Interrupted, ResourceError
from descant.core.fingerprint import canonical
from descant.run.journal import Record
from descant.run.loggable import as_params, name_of, without_secrets
from descant.run.mlflow_client import Connection, answering
from descant.run.replay import NewRun, now
from descant.run.spool import Spool

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
NOTE = "mlflow.note.content"
"""MLflow shows this tag, as Markdown, at the top of a run's page."""


class Run:
    """An open run. A ``with`` block closes it as the block ends; ``close`` closes it by hand."""

    def __init__(self, spool: Spool, new: NewRun) -> None:
        self._spool, self._new = spool, new
        self._sent: set[tuple[str, int]] = set()

    @property
    def handle(self) -> Record:
        """JSON values by which ``Tracker.attached`` finds this run again in another process."""
        return self._new.as_record()

    @property
    def run_id(self) -> str:
        """MLflow's id; DependencyError when MLflow has not answered yet."""
        return self._spool.run_id(self._new.key)

    @property
    def connection(self) -> Connection:
        """MLflow once everything logged so far has arrived; DependencyError when it does not answer."""
        return self._spool.connection()

    def child(
        self,
        name: str,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Any = None,
        description: str = "",
    ) -> Run:
        """A run below this one; with ``key``, the one that was opened with it here before, if there is one.

        A run that is opened again keeps its points: a metric that it has for a step is not logged twice.
        ``description`` is Markdown. Below a run without a key of its own (a plain job) nothing is found again.
        """
        own = uuid.uuid4().hex if key is None else digest_of(f"{self._new.key}/{key}")
        run = Run(self._spool, new_run(name, own, self._spool.experiment, tags, description, self._new))
        run.open()
        if params is not None:
            run.params(params)
        return run

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log numbers at ``step``; a name that was already sent for this step is not sent again.

        NaN and infinity, which MLflow stores as other numbers, become a tag ``nonfinite.NAME`` instead.
        """
        named = {name_of(key): float(value) for key, value in values.items()}
        fresh = {name: value for name, value in named.items() if (name, step) not in self._sent}
        finite = {name: value for name, value in fresh.items() if math.isfinite(value)}
        if finite:
            self.append("metrics", values=finite, step=step, time=now())
        self.tags({f"nonfinite.{k}": f"{v} at step {step}" for k, v in fresh.items() if not math.isfinite(v)})
        self._sent.update((name, step) for name in fresh)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; an equal name is replaced."""
        if values:
            self.append("tags", values={name_of(key): value for key, value in values.items()})

    def params(self, spec: Any) -> None:
        """Log a spec: flattened as params (long values as their sha256) and whole as ``spec.json``.

        Values whose key looks secret are replaced in both.
        """
        safe = without_secrets(canonical(spec))
        self.text("spec.json", json.dumps(safe, indent=1, ensure_ascii=False))
        self.append("params", values=as_params(safe))

    def text(self, name: str, text: str) -> None:
        """Keep ``text`` as the artifact file ``name``."""
        self.append("text", name=name, text=text)

    def artifacts(self, folder: Path, name: str) -> None:
        """Copy the files of ``folder`` under the artifact folder ``name``; DependencyError without MLflow."""
        connection, run_id = self.connection, self.run_id
        with answering(connection.uri):
            connection.client.log_artifacts(run_id, str(folder), name)

    def close(self, status: Status = "FINISHED") -> None:
        """End the run; a second time sets another status."""
        self.append("close", status=status, time=now())
        self._spool.open_runs.pop(self._new.key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        try:
            self.tags({"error": error.code if isinstance(error, DescantError) else type(error).__name__})
            self.close("KILLED" if stopped else "FAILED")
        except ResourceError as second:  # the block's own error is the one to show
            log.warning("the run %s stays open: %s", self._new.name, second)

    def open(self) -> None:
        """Begin the run, or go on in it where it was closed."""
        self.append("open", new=self._new.as_record())
        self._spool.open_runs[self._new.key] = self._new

    def append(self, do: str, **values: Any) -> None:
        """Write a record of this run down."""
        self._spool.append(do, self._new.key, **values)


class JobRun(Run):
    """The parent run of a job or a study."""

    spooled = 0
    """After its end: how many records wait for MLflow in the store."""

    @contextmanager
    def stage(self, label: str, fingerprint: str, spec: Any) -> Iterator[Run]:
        """A child run for a stage that is executed now; it ends as the block does."""
        with self.child(label, tags={"fingerprint": fingerprint}, params=spec) as run:
            yield run

    def cached(self, label: str, address: str) -> None:
        """Note on the parent that a stage was not executed because its result was there."""
        self.tags({f"cached.{label}": address})


def new_run(
    name: str,
    key: str,
    experiment: str,
    tags: Mapping[str, str] | None,
    description: str,
    parent: NewRun | None,
) -> NewRun:
    """A run that begins now, with tags for code, host and process, and ``description`` as its note."""
    everything = {name_of(k): v for k, v in (tags or {}).items()}
    everything |= {**code_of(provenance()), "host": socket.gethostname(), "pid": str(os.getpid())}
    if description:
        everything[NOTE] = description
    return NewRun(key, name, experiment, everything, now(), parent)


def digest_of(key: str) -> str:
    """``key`` as a run's key: 32 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
