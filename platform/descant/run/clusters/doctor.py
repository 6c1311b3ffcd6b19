"""Whether a cluster is fit for jobs, and what to do where it is not: ``descant doctor``."""

from __future__ import annotations

import json
import platform
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from descant.artifacts.bucket import is_url
from descant.core.errors import DescantError
from descant.run.clusters.jobs import log_of, wait_for_end
from descant.run.clusters.package import Package, code_package
from descant.run.clusters.probe import MARK, libraries
from descant.run.clusters.reach import Cluster
from descant.run.clusters.status import GIBIBYTE, Status, status_of
from descant.run.clusters.submission import check_version, send

if TYPE_CHECKING:
    from rich.table import Table

LEAST_FREE = 10 * GIBIBYTE
"""Of the store: less than that does not hold the results of a small study."""
LEAST_TEMPORARY = 5 * GIBIBYTE
"""Of a node's temporary folder: Ray spills there what its object store has no room for, and writes its logs."""
MOST_USED = 0.95
"""Share of a file system above which Ray does not spill to it (its ``local_fs_capacity_threshold``)."""
PROBE_SECONDS = 180.0
"""What the probe may take: its packages are unpacked, and every node imports torch."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""


def examine(cluster: Cluster, store: str) -> Iterator[Finding]:
    """Look at one thing after the other: the way there, the nodes, the package, and what the nodes have.

    What keeps everything after it from being looked at is the last finding.
    """
    try:
        check_version(cluster)
        status = status_of(cluster.api)
    except DescantError as error:
        yield Finding("connection", f"{error.where}: {error.problem}", error.remedy)
        return
    yield Finding("connection", f"{cluster.api.url}, token accepted, Ray {status.ray} as here")
    yield _nodes(status)
    package = code_package()
    yield Finding("code package", f"{len(package.data) / 2**20:.1f} MiB")
    try:
        answers = _probed(cluster, store, package)
    except DescantError as error:
        yield Finding("probe", f"{error.where}: {error.problem}", error.remedy)
        return
    has_gpus = any(node.gpus for node in status.nodes if node.is_alive)
    for node, answer in answers.items():
        yield from findings_of(node, answer, store, has_gpus=has_gpus)


def findings_of(node: str, answer: Mapping[str, Any], store: str, *, has_gpus: bool) -> Iterator[Finding]:
    """What the answer of one node means."""
    yield _libraries(node, answer)
    free = answer["free_bytes"] / GIBIBYTE
    if answer["store"]:
        remedy = (
            "Give the nodes the library and the right to read and write it."
            if is_url(store)
            else f"Mount one shared folder at {store} on every node, or name another as the store."
        )
        yield Finding(f"store on {node}", answer["store"], remedy)
    else:
        remedy = (
            "" if answer["free_bytes"] >= LEAST_FREE else "Make room, or name a larger disk as the store."
        )
        yield Finding(f"store on {node}", f"{store}, {free:,.0f} GiB free", remedy)
    yield _temporary(node, answer)
    if answer["data"]:
        yield Finding(
            f"data on {node}", answer["data"], "Mount the data there, or correct 'data' of the cluster."
        )
    if has_gpus and not answer["torch_cuda"]:
        yield Finding(f"torch on {node}", "is a build for CPUs", "Install torch for CUDA on nodes with GPUs.")


def _nodes(status: Status) -> Finding:
    alive = [node for node in status.nodes if node.is_alive]
    dead = len(status.nodes) - len(alive)
    cpus, gpus = sum(node.cpus for node in alive), sum(node.gpus for node in alive)
    memory = sum(node.memory for node in alive) / GIBIBYTE
    found = f"{len(alive)} alive, {dead} dead: {cpus:g} CPUs, {gpus:g} GPUs, {memory:,.0f} GiB of memory"
    return Finding("nodes", found, "" if cpus or gpus else "No node gives out a CPU: add workers.")


def _libraries(node: str, answer: Mapping[str, Any]) -> Finding:
    ours = {**libraries(), "Python": platform.python_version()}
    theirs = {**answer["libraries"], "Python": answer["python"]}
    names = [name for name in ours if not name.startswith("faiss")]
    missing = [name for name in names if name not in theirs]
    if not any(name.startswith("faiss") for name in theirs):
        missing.append("faiss-cpu or faiss-gpu")
    other = [
        f"{name} {theirs[name]} ({ours[name]} here)"
        for name in names
        if name in theirs and _series(theirs[name]) != _series(ours[name])
    ]
    if not missing and not other:
        return Finding(f"libraries on {node}", f"{len(names)} as here")
    found = "; ".join(([f"no {', '.join(missing)}"] if missing else []) + other)
    return Finding(
        f"libraries on {node}", found, "Install the versions of constraints.txt there (clusters/image)."
    )


def _temporary(node: str, answer: Mapping[str, Any]) -> Finding:
    free, used = answer["temporary_free_bytes"], answer["temporary_used"]
    found = f"{answer['temporary']}, {free / GIBIBYTE:,.0f} GiB free, {used:.0%} used"
    is_well = free >= LEAST_TEMPORARY and used < MOST_USED
    remedy = f"Make room, or give Ray one on a larger disk: it spills there below {MOST_USED:.0%} alone."
    return Finding(f"temporary folder on {node}", found, "" if is_well else remedy)


def _series(version: str) -> list[str]:
    """The part of a version that has to be the same: ``2.13`` of ``2.13.0+cpu``."""
    return version.split("+")[0].split(".")[:2]


def _probed(cluster: Cluster, store: str, package: Package) -> dict[str, dict[str, Any]]:
    """The answers of all nodes, by their address."""
    word = f"doctor-{secrets.token_hex(6)}"
    send(cluster, package)
    cluster.api.post(
        "api/jobs/",
        {
            "submission_id": word,
            "entrypoint": shlex.join([cluster.python, "-m", "descant.run.clusters.probe", store, word]),
            "runtime_env": {"py_modules": [package.uri], "env_vars": cluster.variables},
            "metadata": {"recipe": "descant doctor"},
        },
    )
    job, lines = wait_for_end(cluster.api, word, PROBE_SECONDS), log_of(cluster.api, word)
    found = next((line.removeprefix(MARK) for line in lines if line.startswith(MARK)), None)
    if job.state != "succeeded" or found is None:
        said = next((line for line in reversed(lines) if line.strip()), job.message)
        raise cluster.api.away(f"could not run the probe: {said[:300]}", f"See: descant jobs logs {word}")
    answers: dict[str, dict[str, Any]] = json.loads(found)
    return answers


def findings_table(findings: Sequence[Finding]) -> Table:
    """A line for each finding, and what to do below those that are not well."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = "[red]✗[/red]" if finding.remedy else "[green]✓[/green]"
        table.add_row(mark, escape(finding.subject), escape(finding.found))
        if finding.remedy:
            table.add_row("", "", f"[bold]{escape(finding.remedy)}[/bold]")
    return table
