"""What a run leaves in MLflow: a tree of runs, written to a journal first and sent while the job goes on.

A job is the parent run, a stage that was executed a child; in a study trials are children and final seeds
their children. Cached stages are tags of the parent with their address. Every run ends FINISHED, FAILED or
KILLED as its block does; what a killed process left RUNNING is closed by the next job on the same machine.
An MLflow that is away, hangs or fails never stops a job: what it should hold waits in the store (``spool``).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descant.core.errors import DependencyError, DescantError
from descant.core.fingerprint import fingerprint
from descant.core.yaml_file import parse_yaml
from descant.run.journal import Record, spooled
from descant.run.loggable import has_secrets
from descant.run.mlflow_client import Connection, connect, is_strict
from descant.run.replay import NewRun
from descant.run.runs import JobRun, Run, digest_of, new_run
from descant.run.spool import Spool

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""The longest wait for a server at a job's start, even for one that is slowly taking an earlier job's records."""


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
        own = uuid.uuid4().hex if key is None else digest_of(key)
        run = JobRun(spool, new_run(name, own, spool.experiment, everything, description, None))
        run.open()
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
            run.append("attach", new=handle)
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
            if spool.settle(None if spool.is_local else START_SECONDS):
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


def _left_behind(number: int, spool: Spool) -> DependencyError:
    return DependencyError(
        "E-TRK-SPOOLED",
        str(spool.folder),
        f"MLflow has not taken {number} records ({spool.failure.problem if spool.failure else 'no answer'})",
        "Everything that was computed is kept. Start the server; the next descant command sends them.",
    )
