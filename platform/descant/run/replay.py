"""Sending records to MLflow so that sending one a second time changes nothing.

A run is known by a key of ours, its tag ``descant_key``: MLflow gives ids itself, so a creation whose answer
was lost would otherwise leave two runs. A metric point is identified by run, name and step. MLflow drops a
point that it has with the same time and value; those with another time (a training that was resumed) are
held back here.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from descant.run.journal import Record
from descant.run.mlflow_client import Connection, experiment_id

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

KEY = "descant_key"
PARENT = "mlflow.parentRunId"
MOST_METRICS, MOST_OTHERS = 1000, 100
"""What MLflow takes in one call."""


@dataclass(frozen=True)
class NewRun:
    """All it takes to create a run, or to find it again: in another process, or after the server was away."""

    key: str
    """Stands for the run wherever MLflow's id may not be known yet."""
    name: str
    experiment: str
    tags: Mapping[str, str] = field(default_factory=dict)
    started: int = 0
    """Milliseconds since 1970."""
    parent: NewRun | None = None

    def as_record(self) -> Record:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Record) -> NewRun:
        """What ``as_record`` gave."""
        parent = record["parent"]
        return cls(**{**record, "parent": None if parent is None else cls.of_record(parent)})


class Replay:
    """Sends the records of journals over one connection; raises MLflow's own errors."""

    def __init__(self, connection: Connection, lock: Path) -> None:
        self.connection = connection
        self.ids: dict[str, str] = {}
        """MLflow's ids by key."""
        self._client = connection.client
        self._lock = lock
        self._runs: dict[str, NewRun] = {}
        self._experiments: dict[str, str] = {}
        self._points: dict[str, set[tuple[str, int]]] = {}

    def learn(self, record: Record) -> None:
        """Take note of a run that ``record`` introduces."""
        if record["do"] in ("open", "attach"):
            new = NewRun.of_record(record["new"])
            self._runs[new.key] = new

    def send(self, batch: Sequence[Record]) -> None:
        """Send records that ``batches`` has put together."""
        first = batch[0]
        key, do = first["run"], first["do"]
        if do in ("open", "attach"):
            self.learn(first)
            self._open(self._runs[key], reopen=do == "open")
            return
        run_id = self._run_id(self._runs[key])
        if do == "metrics":
            self._metrics(run_id, batch)
        elif do == "tags":
            self._tags(run_id, first["values"])
        elif do == "params":
            self._params(run_id, first["values"])
        elif do == "text":
            self._client.log_text(run_id, first["text"], first["name"])
        elif do == "close":
            self._client.set_terminated(run_id, first["status"], first["time"])
            self._delete_twins(key, run_id)

    def forget(self, key: str) -> bool:
        """Look for a run anew the next time; whether it was known."""
        self._points.pop(self.ids.get(key, ""), None)
        return self.ids.pop(key, None) is not None

    def close_abandoned(self) -> None:
        """Mark as KILLED what processes of this machine left open when they were killed."""
        still_open = (
            f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}' and tags.pid != ''"
        )
        for run in self._client.search_runs([self.connection.experiment_id], still_open):
            if _is_gone(int(run.data.tags["pid"])):
                twins = self._search(run.data.tags.get(KEY, ""), self.connection.experiment_id)
                if len(twins) > 1 and _is_empty(run):
                    self._client.delete_run(run.info.run_id)
                else:
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def _open(self, new: NewRun, *, reopen: bool) -> None:
        run_id = self._run_id(new)
        if reopen and self._client.get_run(run_id).info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        if reopen:
            self._tags(run_id, {name: new.tags[name] for name in ("host", "pid") if name in new.tags})

    def _run_id(self, new: NewRun) -> str:
        if new.key not in self.ids:
            parent = {} if new.parent is None else {PARENT: self._run_id(new.parent)}
            experiment = self._experiment(new.experiment)
            with self._one_at_a_time():
                found = self._search(new.key, experiment)
                run = max(found, key=_size) if found else None
                if run is None:
                    tags = {**new.tags, **parent, KEY: new.key}
                    run = self._client.create_run(
                        experiment, start_time=new.started, tags=tags, run_name=new.name
                    )
                    self._points[run.info.run_id] = set()
            self.ids[new.key] = str(run.info.run_id)
        return self.ids[new.key]

    def _metrics(self, run_id: str, batch: Sequence[Record]) -> None:
        from mlflow.entities import Metric

        if run_id not in self._points:  # somebody has logged to it before
            names = self._client.get_run(run_id).data.metrics
            self._points[run_id] = {
                (name, point.step)
                for name in names
                for point in self._client.get_metric_history(run_id, name)
            }
        there = self._points[run_id]
        fresh: dict[tuple[str, int], Metric] = {}
        for record in batch:
            for name, value in record["values"].items():
                point = (name, record["step"])
                if point not in there:
                    fresh.setdefault(point, Metric(name, value, record["time"], record["step"]))
        points = list(fresh.values())
        for start in range(0, len(points), MOST_METRICS):
            self._client.log_batch(run_id, metrics=points[start : start + MOST_METRICS])
        there.update(fresh)

    def _tags(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(name, value) for name, value in values.items()]
        for start in range(0, len(tags), MOST_OTHERS):
            self._client.log_batch(run_id, tags=tags[start : start + MOST_OTHERS])

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(name, value) for name, value in values.items()]
        for start in range(0, len(params), MOST_OTHERS):
            self._client.log_batch(run_id, params=params[start : start + MOST_OTHERS])

    def _delete_twins(self, key: str, run_id: str) -> None:
        """A creation that was stuck on its way may arrive after the one that took its place."""
        for run in self._search(key, self._experiment(self._runs[key].experiment)):
            if run.info.run_id != run_id and _is_empty(run):
                self._client.delete_run(run.info.run_id)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = experiment_id(self._client, name, self.connection.artifacts)
        return self._experiments[name]

    def _search(self, key: str, experiment: str) -> list[MlflowRun]:
        return list(self._client.search_runs([experiment], f"tags.{KEY} = '{key}'")) if key else []

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Two processes that open one run at once would both find none."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def batches(records: Sequence[tuple[Record, int]]) -> Iterator[tuple[list[Record], int]]:
    """Records that go in one call, with the offset at which they end: metrics of one run together."""
    batch: list[Record] = []
    end = count = 0
    for record, after in records:
        alike = batch and record["do"] == batch[0]["do"] == "metrics" and record["run"] == batch[0]["run"]
        size = len(record["values"]) if record["do"] == "metrics" else 0
        if batch and not (alike and count + size <= MOST_METRICS):
            yield batch, end
            batch, count = [], 0
        batch.append(record)
        end, count = after, count + size
    if batch:
        yield batch, end


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _size(run: MlflowRun) -> int:
    return len(run.data.metrics) + len(run.data.params)


def _is_empty(run: MlflowRun) -> bool:
    return not _size(run)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
