"""What a cluster has and does, asked over its HTTP interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from descant.run.clusters.api import ClusterApi

if TYPE_CHECKING:
    from rich.table import Table

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Node:
    """A machine of a cluster."""

    address: str
    is_head: bool
    is_alive: bool
    cpus: float
    """Logical CPUs that Ray gives out."""
    gpus: float
    memory: float
    """Bytes that Ray gives out."""
    memory_used: float
    """Share of the machine's memory that is in use, by whatever."""
    since: datetime


@dataclass(frozen=True)
class Status:
    """A cluster at one moment."""

    ray: str
    """Its version of Ray."""
    nodes: Sequence[Node]
    jobs: dict[str, int]
    """How many jobs there are of each status, as Ray names it in lower case."""


def status_of(api: ClusterApi) -> Status:
    """Raises what ``ClusterApi.get`` raises."""
    version = api.get("api/version")
    nodes = api.get("nodes?view=summary")["data"]["summary"]
    jobs: dict[str, int] = {}
    for job in api.get("api/jobs/"):
        if job["type"] == "SUBMISSION":
            state = job["status"].lower()
            jobs[state] = jobs.get(state, 0) + 1
    return Status(
        ray=version["ray_version"],
        nodes=[_node(found) for found in nodes],
        jobs=jobs,
    )


def _node(found: dict[str, Any]) -> Node:
    raylet = found["raylet"]
    has = raylet.get("resourcesTotal", {})
    return Node(
        address=raylet["nodeManagerAddress"],
        is_head=raylet["isHeadNode"],
        is_alive=raylet["state"] == "ALIVE",
        cpus=has.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        memory=has.get("memory", 0.0),
        memory_used=found["mem"][2] / 100 if "mem" in found else 0.0,
        since=datetime.fromtimestamp(int(raylet["startTimeMs"]) / 1000, UTC),
    )


def nodes_table(status: Status) -> Table:
    """A line for each node."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("node")
    table.add_column("state")
    for name in ("CPUs", "GPUs", "memory", "in use"):
        table.add_column(name, justify="right")
    table.add_column("up since")
    for node in status.nodes:
        table.add_row(
            escape(node.address) + (" (head)" if node.is_head else ""),
            "[green]alive[/green]" if node.is_alive else "[red]dead[/red]",
            f"{node.cpus:g}",
            f"{node.gpus:g}",
            f"{node.memory / GIBIBYTE:.1f} GiB",
            f"{node.memory_used:.0%}",
            f"{node.since:%Y-%m-%d %H:%M:%S} UTC",
        )
    return table


def jobs_line(status: Status) -> str:
    """How many jobs there are, by what became of them."""
    return ", ".join(f"{count} {state}" for state, count in sorted(status.jobs.items())) or "none yet"
