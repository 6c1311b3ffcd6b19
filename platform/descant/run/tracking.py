"""What a run leaves in MLflow: one parent run per job, one child run per stage that was executed.

Cached stages are tags of the parent with their address. Every run ends FINISHED, FAILED or KILLED as its
process does; what a killed process left RUNNING is closed by the next job on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from descant.artifacts.provenance import provenance
from descant.core.errors import DependencyError, DescantError, Interrupted
from descant.core.fingerprint import canonical, fingerprint
from descant.core.spec import SECRET_KEY
from descant.core.yaml_file import parse_yaml
from descant.run.mlflow_client import Connection, answering, connect, without_credentials

log = logging.getLogger(__name__)

LONGEST_PARAM = 500
HIDDEN = "(not logged: its name looks secret)"
_NOT_A_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    connection: Connection
    run_id: str
    _sent: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log numbers at ``step``; a name that was already sent for this step is not sent again.

        NaN and infinity, which MLflow stores as other numbers, become a tag ``nonfinite.NAME`` instead.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {name_of(key): float(value) for key, value in values.items()}
        fresh = {name: value for name, value in named.items() if (name, step) not in self._sent}
        finite = [Metric(name, value, now, step) for name, value in fresh.items() if math.isfinite(value)]
        self._log(metrics=finite)
        self.tags({f"nonfinite.{k}": f"{v} at step {step}" for k, v in fresh.items() if not math.isfinite(v)})
        self._sent.update((name, step) for name in fresh)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; an equal name is replaced."""
        from mlflow.entities import RunTag

        self._log(tags=[RunTag(name_of(key), value) for key, value in values.items()])

    def params(self, spec: Any) -> None:
        """Log a spec: flattened as params (long values as their sha256) and whole as ``spec.json``.

        Values whose key looks secret are replaced in both.
        """
        from mlflow.entities import Param

        safe = without_secrets(canonical(spec))
        self.text("spec.json", json.dumps(safe, indent=1, ensure_ascii=False))
        self._log(params=[Param(key, value) for key, value in as_params(safe).items()])

    def text(self, name: str, text: str) -> None:
        """Keep ``text`` as the artifact file ``name``."""
        with answering(self.connection.uri):
            self.connection.client.log_text(self.run_id, text, name)

    def artifacts(self, folder: Path, name: str) -> None:
        """Copy the files of ``folder`` under the artifact folder ``name``."""
        with answering(self.connection.uri):
            self.connection.client.log_artifacts(self.run_id, str(folder), name)

    def _log(self, **entities: list[Any]) -> None:
        """The one place through which params, metrics and tags leave; MLflow takes 100 at a time."""
        for kind, items in entities.items():
            for start in range(0, len(items), 100):
                batch: dict[str, Any] = {kind: items[start : start + 100]}
                with answering(self.connection.uri):
                    self.connection.client.log_batch(self.run_id, **batch)


@dataclass(frozen=True)
class JobRun(Run):
    """The parent run of a job."""

    @contextmanager
    def stage(self, label: str, fingerprint: str, spec: Any) -> Iterator[Run]:
        """A child run for a stage that is executed now; it ends as the block does."""
        tags = {"mlflow.parentRunId": self.run_id, "fingerprint": fingerprint}
        run = Run(self.connection, _create(self.connection, label, tags))
        with _ending(run):
            run.params(spec)
            yield run

    def cached(self, label: str, address: str) -> None:
        """Note on the parent that a stage was not executed because its result was there."""
        self.tags({f"cached.{label}": address})


@dataclass(frozen=True)
class Tracker:
    """Where jobs are tracked."""

    connection: Connection

    @classmethod
    def open(cls, root: Path, experiment: str | None = None) -> Tracker:
        """The tracker of the store at ``root``; raises what ``connect`` raises."""
        return cls(connect(root, experiment))

    @contextmanager
    def job(self, name: str, spec: Any, recipe: str) -> Iterator[JobRun]:
        """The parent run of a job, with its spec and the text of its recipe; it ends as the block does.

        A recipe with a key that looks secret is not kept as text.
        """
        _close_abandoned(self.connection)
        run = JobRun(self.connection, _create(self.connection, name, {"fingerprint": fingerprint(spec)}))
        with _ending(run):
            run.params(spec)
            if not _has_secrets(parse_yaml(recipe, Path("recipe")).values):
                run.text("recipe.yaml", recipe)
            yield run


def name_of(text: str) -> str:
    """``text`` as MLflow takes it for a name: ``ndcg@10`` becomes ``ndcg_at_10``."""
    return _NOT_A_NAME.sub("_", text.replace("@", "_at_"))[:250]


def as_params(spec: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of a canonical spec by dotted name; text as it is, all else as JSON.

    Lists of plain values stay together. Values of more than 500 characters become their sha256 and length.
    """
    params = {}
    for key, value in _leaves(spec):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > LONGEST_PARAM:
            digest = hashlib.sha256(text.encode()).hexdigest()
            text = f"sha256:{digest} ({len(text)} characters, whole in spec.json)"
        params[name_of(key)] = text
    return params


def without_secrets(value: Any) -> Any:
    """A canonical value without what stands under a key that looks secret, and without passwords in URLs."""
    if isinstance(value, dict):
        return {k: HIDDEN if SECRET_KEY.search(k) else without_secrets(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return without_credentials(value) if isinstance(value, str) else value


def made_by() -> dict[str, str]:
    """Tags for the code that is running: version and commit, with a mark when files were changed since."""
    facts = provenance()
    commit = f"{facts['commit']}{'+changes' if facts['dirty'] else ''}"
    return {"descant": facts["descant"], **({"commit": commit} if facts["commit"] else {})}


def _has_secrets(value: Any) -> bool:
    return without_secrets(value) != value


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not prefix):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = list(enumerate(value))
    else:
        yield prefix, value
        return
    for key, item in items:
        yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))


def _create(connection: Connection, name: str, tags: Mapping[str, str]) -> str:
    everything = {**tags, **made_by(), "host": socket.gethostname(), "pid": str(os.getpid())}
    with answering(connection.uri):
        run = connection.client.create_run(connection.experiment_id, run_name=name, tags=everything)
    return str(run.info.run_id)


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """Close the run as the block ends; an error in the block is never hidden by one of MLflow."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Interrupted)
        try:
            run.tags({"error": error.code if isinstance(error, DescantError) else type(error).__name__})
            _terminate(run.connection, run.run_id, "KILLED" if stopped else "FAILED")
        except DependencyError as second:
            log.warning("the MLflow run %s stays open: %s", run.run_id, second)
        raise
    _terminate(run.connection, run.run_id, "FINISHED")


def _terminate(connection: Connection, run_id: str, status: str) -> None:
    with answering(connection.uri):
        connection.client.set_terminated(run_id, status)


def _close_abandoned(connection: Connection) -> None:
    """Mark as KILLED what processes of this machine left open when they were killed."""
    still_open = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}' and tags.pid != ''"
    with answering(connection.uri):
        runs = connection.client.search_runs([connection.experiment_id], still_open)
    for run in runs:
        if _is_gone(int(run.data.tags["pid"])):
            _terminate(connection, run.info.run_id, "KILLED")


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
