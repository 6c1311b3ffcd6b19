"""The jobs that were submitted to a cluster: listed, looked at and stopped."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from descant.core.errors import ConfigError
from descant.run.clusters.api import ClusterApi

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {"succeeded": "green", "failed": "red", "stopped": "yellow", "running": "cyan"}
ENDED = frozenset({"succeeded", "failed", "stopped"})
STOP_SECONDS = 60.0
"""What a job may take to end after it was asked to; Ray kills it before that."""
POLL_SECONDS = 0.2
_ATTEMPT = re.compile(r"^(.*-[0-9a-f]{12})-([1-9][0-9]*)$")


@dataclass(frozen=True)
class SubmittedJob:
    """A job of a cluster at one moment."""

    id: str
    """Of its submission."""
    state: str
    """``pending``, ``running``, ``stopped``, ``failed`` or ``succeeded``."""
    recipe: str
    """Path of the recipe where it was submitted; empty for a job that descant did not submit."""
    began: datetime | None
    ended: datetime | None
    exit_code: int | None
    """Of its process, once that has ended."""
    message: str
    """What Ray says of its state."""

    @property
    def base(self) -> str:
        """The id of the first attempt."""
        match = _ATTEMPT.match(self.id)
        return match.group(1) if match else self.id

    @property
    def attempt(self) -> int:
        """1 for the first."""
        match = _ATTEMPT.match(self.id)
        return int(match.group(2)) if match else 1

    @property
    def next_id(self) -> str:
        """Of the next attempt."""
        return f"{self.base}-{self.attempt + 1}"

    @property
    def has_ended(self) -> bool:
        """However it ended."""
        return self.state in ENDED

    @property
    def may_be_resubmitted(self) -> bool:
        """Whether it ended without a result."""
        return self.has_ended and self.state != "succeeded"

    @property
    def took(self) -> timedelta | None:
        """Until now, or until it ended."""
        return (self.ended or datetime.now(UTC)) - self.began if self.began else None


def list_jobs(api: ClusterApi) -> list[SubmittedJob]:
    """All that were submitted, the latest first. Raises what ``ClusterApi.get`` raises."""
    found = [_job(entry) for entry in api.get("api/jobs/") if entry["type"] == "SUBMISSION"]
    return sorted(found, key=lambda job: (job.began is None, job.began), reverse=True)


def find_job(api: ClusterApi, start: str) -> SubmittedJob:
    """The job whose id begins with ``start``; of several attempts at one job the last. Raises ConfigError where there
    is none, or more than one.
    """
    jobs = list_jobs(api)
    exact = [job for job in jobs if job.id == start]
    found = exact or [job for job in jobs if job.id.startswith(start)]
    bases = {job.base for job in found}
    if len(bases) != 1:
        raise ConfigError(
            "E-JOB-ID",
            start,
            f"is the start of {len(bases)} jobs' ids at {api.url}, expected one",
            "Nothing was changed. See: descant jobs list",
        )
    return max(found, key=lambda job: job.attempt)


def stop_job(api: ClusterApi, job: SubmittedJob) -> SubmittedJob:
    """Ask ``job`` to stop, and wait until it has; one that has ended is left as it is."""
    if job.has_ended:
        return job
    api.post(f"api/jobs/{job.id}/stop", {})
    return wait_for_end(api, job.id, STOP_SECONDS)


def wait_for_end(api: ClusterApi, job_id: str, seconds: float) -> SubmittedJob:
    """The job as it ended; DependencyError where it has not within so many ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (job := find_job(api, job_id)).has_ended:
        if time.monotonic() > deadline:
            raise api.away(f"has {job_id} {job.state} after {seconds:g} seconds", "See: descant jobs list")
        time.sleep(POLL_SECONDS)
    return job


def log_of(api: ClusterApi, job_id: str) -> list[str]:
    """The lines that a job has written until now. Raises what ``ClusterApi.get`` raises."""
    lines: list[str] = api.get(f"api/jobs/{job_id}/logs")["logs"].splitlines()
    return lines


def jobs_table(jobs: Sequence[SubmittedJob]) -> Table:
    """A line for each job."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("job", "state", "recipe", "began"):
        table.add_column(name, no_wrap=name == "job")
    table.add_column("took", justify="right")
    for job in jobs:
        style = STYLES.get(job.state, "dim")
        table.add_row(
            escape(job.id),
            f"[{style}]{job.state}[/]",
            escape(job.recipe),
            f"{job.began:%Y-%m-%d %H:%M:%S} UTC" if job.began else "",
            duration(job.took),
        )
    return table


def duration(took: timedelta | None) -> str:
    """``1:02:03``, or nothing."""
    return "" if took is None else str(timedelta(seconds=int(took.total_seconds())))


def _job(entry: dict[str, Any]) -> SubmittedJob:
    return SubmittedJob(
        id=entry["submission_id"],
        state=entry["status"].lower(),
        recipe=(entry.get("metadata") or {}).get("recipe", ""),
        began=_moment(entry.get("start_time")),
        ended=_moment(entry.get("end_time")),
        exit_code=entry.get("driver_exit_code"),
        message=entry.get("message") or "",
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
