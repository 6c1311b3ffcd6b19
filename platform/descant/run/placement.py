"""Whether a cluster has room for what steps ask of it, before the first of them starts.

Ray waits for ever for processes that no node can hold. A pool of Ray Data works with the actors that it got and
hangs only without one; Ray Train waits for all of its workers, or for ``min_workers`` (both seen with Ray 2.60). So a
mapped step is refused where not one actor fits, a training where too few of its workers fit together. As the processes
of a step are of one size, counting those of each node is exact: there is nothing to search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from descant.artifacts.store import Store
from descant.core.errors import DescantError, ResourceError
from descant.core.request import Request, amounts
from descant.run.compare.comparison import Comparison
from descant.run.job import Job
from descant.run.profile import Profile
from descant.stages.base import Step, in_order

if TYPE_CHECKING:
    from descant.run.clusters.status import Status

RAY_UNITS = 10_000
"""Ray counts resources in so many parts of one."""


@dataclass(frozen=True)
class Room:
    """What one node gives out when nothing runs on it."""

    cpus: float
    gpus: float

    def holds(self, request: Request) -> int:
        """How many of its processes fit; a share of a GPU never spans two devices."""
        fitting = request.processes
        if request.cpus:
            fitting = min(fitting, _units(self.cpus) // max(1, _units(request.cpus)))
        if 0 < request.gpus < 1:
            fitting = min(fitting, int(self.gpus) * (RAY_UNITS // max(1, _units(request.gpus))))
        elif request.gpus:
            fitting = min(fitting, int(self.gpus) // int(request.gpus))
        return fitting


@dataclass(frozen=True)
class Asked:
    """A step, or the trials of a comparison, and what it asks for."""

    label: str
    section: str
    """Of the compute profile, which says how much."""
    request: Request


def rooms_of_ray() -> list[Room]:
    """The living nodes of the Ray that this process is connected to."""
    import ray

    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Room(has.get("CPU", 0.0), has.get("GPU", 0.0)) for has in found]


def rooms_of(status: Status) -> list[Room]:
    """The living nodes of a cluster that was asked."""
    return [Room(node.cpus, node.gpus) for node in status.nodes if node.is_alive]


def asked_by(steps: Iterable[Step], profile: Profile) -> Iterator[Asked]:
    """What ``steps`` ask for; those in the calling process nothing."""
    for step in steps:
        request = profile.for_stage(step.stage).request
        if request is not None:
            yield Asked(step.label, step.stage.name, request)


def asked_by_trials(profile: Profile) -> Asked:
    """What one trial of a comparison asks for."""
    return Asked("each trial", "trial", profile.trial.request)


def fitting(request: Request, rooms: Sequence[Room]) -> int:
    """How many of its processes fit on the nodes at the same time, beside the one that waits for them."""
    alone = sum(room.holds(request) for room in rooms)
    if not request.beside:
        return min(alone, request.processes)
    waiting = replace(request, processes=1, cpus=request.beside, gpus=0)
    lost = [
        room.holds(request) - replace(room, cpus=room.cpus - request.beside).holds(request)
        for room in rooms
        if room.holds(waiting)
    ]
    return min(alone - min(lost), request.processes) if lost else 0


def refuse_without_room(asked: Iterable[Asked], rooms: Sequence[Room], profile: Profile) -> None:
    """Raise ResourceError for the first that the nodes can never hold, with what they have.

    Nothing is refused where the profile says that the cluster adds nodes: which kinds, Ray tells nobody.
    """
    for one in () if profile.autoscales else asked:
        found = fitting(one.request, rooms)
        if found < one.request.least:
            raise _no_room(one, found, rooms, profile)


def asked_of_job(job: Job, store: Store, profile: Profile) -> list[Asked]:
    """What the steps ask for that ``store`` lacks of ``job``, and its trials where it is a comparison.

    Raises DescantError where models or data, which are part of addresses, are not on this machine.
    """
    steps = in_order(job.steps().values())
    missing = [step for step in steps if store.find(step.stage.name, step.fingerprint) is None]
    return [*asked_by(missing, profile), *([asked_by_trials(profile)] if isinstance(job, Comparison) else [])]


def refuse_job_without_room(job: Job, store: Store, profile: Profile, rooms: Sequence[Room]) -> None:
    """As ``refuse_without_room``, for ``asked_of_job``.

    Where models or data lie on the cluster alone, what it asks for is seen when it runs there.
    """
    try:
        asked = asked_of_job(job, store, profile)
    except DescantError:
        return
    refuse_without_room(asked, rooms, profile)


def _no_room(one: Asked, found: int, rooms: Sequence[Room], profile: Profile) -> ResourceError:
    request = one.request
    few = f", at least {request.least}" if 1 < request.least < request.processes else ""
    together = f"{few} together" if request.least > 1 else ""
    section = getattr(profile, one.section)
    fields = [name for name in type(section).model_fields if name.startswith(("workers", "cpus", "gpus"))]
    return ResourceError(
        "E-PLC-ROOM",
        one.label,
        f"asks for {request}{together}, the cluster has room for {found}: {shown(rooms)}",
        f"No step was started. In the profile lower {', '.join(fields[:-1])} or {fields[-1]} of {one.section}, or use "
        "a cluster with more (num_cpus of ray says what a Ray has that descant starts). Where the cluster adds nodes "
        "by itself, set autoscales: true.",
    )


def asked_line(request: Request, rooms: Sequence[Room]) -> str:
    """``16 x 1 CPU, room for 4``; the room only where it is less than what is asked for."""
    found = fitting(request, rooms)
    return str(request) + (f", room for {found}" if found < request.processes else "")


def shown(rooms: Sequence[Room]) -> str:
    """``2 nodes with 8 CPU + 1 GPU, 1 node with 4 CPU``."""
    counted = Counter(amounts(room.cpus, room.gpus) for room in rooms)
    nodes = (f"{count} node{'s' if count > 1 else ''} with {each}" for each, count in counted.items())
    return ", ".join(nodes) or "no node is alive"


def _units(amount: float) -> int:
    return round(amount * RAY_UNITS)
