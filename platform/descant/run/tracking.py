"""What a run leaves in MLflow: a tree of runs, written to a journal first and sent while the job goes on.

A job is the parent run, a stage that was executed a child; in a study trials are children and final seeds
their children. Cached stages are tags of the parent with their address. Every run ends FINISHED, FAILED or
KILLED as its block does; what a killed process left RUNNING is closed by the next job on the same machine.
An MLflow that is away, hangs or fails never stops a job: what it should hold waits in the store (``spool``).
"""

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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from descant.core.errors import DependencyError, DescantError, Interrupted, ResourceError
from descant.core.fingerprint import canonical, fingerprint
from descant.core.yaml_file import parse_yaml
from descant.run.journal import Record
from descant.run.loggable import as_params, has_secrets, made_by, name_of, without_secrets
from descant.run.mlflow_client import Connection, answering, connect
from descant.run.replay import NewRun, now
from descant.run.spool import Spool, is_strict, spooled

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
NOTE = "mlflow.note.content"
"""MLflow shows this tag, as Markdown, at the top of a run's page."""
START_SECONDS = 10.0
"""The longest wait at a job's start, even for a server that is slowly taking an earlier job's records."""


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
        own = uuid.uuid4().hex if key is None else _digest(f"{self._new.key}/{key}")
        run = Run(self._spool, _new_run(name, own, self._spool.experiment, tags, description, self._new))
        run._open()
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
            self._append("metrics", values=finite, step=step, time=now())
        self.tags({f"nonfinite.{k}": f"{v} at step {step}" for k, v in fresh.items() if not math.isfinite(v)})
        self._sent.update((name, step) for name in fresh)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; an equal name is replaced."""
        if values:
            self._append("tags", values={name_of(key): value for key, value in values.items()})

    def params(self, spec: Any) -> None:
        """Log a spec: flattened as params (long values as their sha256) and whole as ``spec.json``.

        Values whose key looks secret are replaced in both.
        """
        safe = without_secrets(canonical(spec))
        self.text("spec.json", json.dumps(safe, indent=1, ensure_ascii=False))
        self._append("params", values=as_params(safe))

    def text(self, name: str, text: str) -> None:
        """Keep ``text`` as the artifact file ``name``."""
        self._append("text", name=name, text=text)

    def artifacts(self, folder: Path, name: str) -> None:
        """Copy the files of ``folder`` under the artifact folder ``name``; DependencyError without MLflow."""
        connection, run_id = self.connection, self.run_id
        with answering(connection.uri):
            connection.client.log_artifacts(run_id, str(folder), name)

    def close(self, status: Status = "FINISHED") -> None:
        """End the run; a second time sets another status."""
        self._append("close", status=status, time=now())
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

    def _open(self) -> None:
        self._append("open", new=self._new.as_record())
        self._spool.open_runs[self._new.key] = self._new

    def _append(self, do: str, **values: Any) -> None:
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


@dataclass(frozen=True)
class Tracker:
    """Where jobs are tracked: the MLflow of the store at ``root``."""

    root: Path
    experiment: str | None = None

    @classmethod
    def open(cls, root: Path, experiment: str | None = None) -> Tracker:
        """The tracker of the store at ``root``; ConfigError for a value of DESCANT_TRACKING that there is not."""
        is_strict()
        return cls(root, experiment)

    @property
    def connection(self) -> Connection:
        """A connection of its own; raises what ``connect`` raises."""
        return connect(self.root, self.experiment)

    @contextmanager
    def job(
        self,
        name: str,
        spec: Any,
        recipe: str,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> Iterator[JobRun]:
        """The parent run of a job, with its spec and the text of its recipe; it ends as the block does.

        With ``key`` (a study's fingerprint) the run of an earlier call is opened again, and so are its
        children by their keys. Children that are still open at the end become KILLED. A recipe with a key
        that looks secret is not kept as text.

        An MLflow that does not answer costs ten seconds in all, and its records stay in the store. Under
        DESCANT_TRACKING=strict it is a DependencyError: at the start before anything is done, at the end with
        everything done. Raises ConfigError when the experiment was deleted.
        """
        strict = is_strict()
        spool = Spool(self.root, self.experiment)
        everything = {"fingerprint": fingerprint(spec), **(tags or {})}
        own = uuid.uuid4().hex if key is None else _digest(key)
        run = JobRun(spool, _new_run(name, own, spool.experiment, everything, description, None))
        run._open()
        self._begin(spool, strict=strict)
        try:
            with run:
                run.params(spec)
                if not has_secrets(parse_yaml(recipe, Path("recipe")).values):
                    run.text("recipe.yaml", recipe)
                try:
                    yield run
                finally:
                    for left in [new for new in spool.open_runs.values() if new.key != own]:
                        Run(spool, left).close("KILLED")
        finally:
            run.spooled = spool.finish()
            if run.spooled:
                log.info("%d records spooled: %s", run.spooled, spool.failure)
        if run.spooled and strict:
            raise _left_behind(run.spooled, spool)

    @contextmanager
    def attached(self, handle: Record) -> Iterator[Run]:
        """In another process: the run that ``handle`` names, to log to and to open children of.

        The block neither waits for MLflow nor closes the run, which remains its opener's; the children that
        it left open become KILLED.
        """
        spool = Spool(self.root, handle["experiment"], leads=False)
        run = Run(spool, NewRun.of_record(handle))
        try:
            run._append("attach", new=handle)
            try:
                yield run
            finally:
                for left in list(spool.open_runs.values()):
                    Run(spool, left).close("KILLED")
        finally:
            spool.release()

    @staticmethod
    def _begin(spool: Spool, *, strict: bool) -> None:
        try:
            if spool.settle(START_SECONDS):
                return
            if strict:
                raise spool.failure or _left_behind(1, spool)
        except DescantError:
            spool.discard()
            raise
        reason = spool.failure.problem if spool.failure else "no answer in time"
        log.warning("%s; the job goes on and its records are kept in %s", reason, spool.folder)


def send_spooled(root: Path) -> int:
    """Send what earlier commands could not, if there is anything; the number of records that still wait.

    Under DESCANT_TRACKING=strict, a DependencyError where some do.
    """
    strict = is_strict()
    if not spooled(root):
        return 0
    spool = Spool(root)
    left = spool.finish()
    if left and strict:
        raise _left_behind(left, spool)
    return left


def _new_run(
    name: str,
    key: str,
    experiment: str,
    tags: Mapping[str, str] | None,
    description: str,
    parent: NewRun | None,
) -> NewRun:
    everything = {name_of(k): v for k, v in (tags or {}).items()}
    everything |= {**made_by(), "host": socket.gethostname(), "pid": str(os.getpid())}
    if description:
        everything[NOTE] = description
    return NewRun(key, name, experiment, everything, now(), parent)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _left_behind(number: int, spool: Spool) -> DependencyError:
    return DependencyError(
        "E-TRK-SPOOLED",
        str(spool.folder),
        f"MLflow has not taken {number} records ({spool.failure.problem if spool.failure else 'no answer'})",
        "Everything that was computed is kept. Start the server; the next descant command sends them.",
    )
