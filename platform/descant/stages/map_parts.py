"""One row, one part, over Ray Data: the only place that knows about part-level resume.

The dataset holds one row per missing part. An actor reads that part's input, publishes its output and returns counts;
the payload never crosses the object store. Parts that were published before are not touched, parts that fail do not
take the others down, and running the same command again maps exactly the missing ones.
"""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import Field

from descant.core import errors
from descant.core.errors import DescantError, ResourceError
from descant.core.request import Gpus, Request
from descant.core.spec import Compute
from descant.stages.base import StageContext

log = logging.getLogger(__name__)

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Makes glibc keep the memory that a batch frees for the next one: new pages cost about 5 % of an encoding."""


class MapCompute(Compute):
    """How a mapped stage is spread over the cluster."""

    workers: int = Field(2, ge=0)
    """Actors at work at the same time; each holds one copy of what it loads. 0 makes the parts in the calling
    process, one after the other and without Ray."""
    cpus: float = Field(0.9, ge=0)
    """Logical CPUs of one actor. All actors together must leave some for Ray Data's own tasks."""
    gpus: Gpus = 0.0
    """GPUs of one actor; a fraction shares one device."""
    threads: int = 1
    """Threads of the numerical libraries in one actor."""

    @property
    def request(self) -> Request | None:
        """Its actors; Ray Data works with those of them that there is room for."""
        return Request(self.workers, self.cpus, self.gpus) if self.workers else None


class PartWorker(Protocol):
    """The work on one part, in an actor of its own process."""

    def process(self, name: str) -> int:
        """Make and publish the part called ``name``; the number of rows it holds."""


class _Actor:
    """Builds the worker once and reports what happens to each part as a plain row."""

    def __init__(self, build: Callable[[], PartWorker]) -> None:
        self._build = build
        self._worker: PartWorker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        name = row["name"]
        try:
            if self._worker is None:
                self._worker = self._build()
            return {"name": name, "rows": self._worker.process(name), "error": "", "trace": ""}
        except Exception as error:  # the boundary of the process: one part's failure is data for the driver
            described = _encode(error)
            return {"name": name, "rows": 0, "error": described, "trace": traceback.format_exc()}


def map_parts(
    context: StageContext,
    build: Callable[[], PartWorker],
    sizes: Mapping[str, int],
    *,
    unit: str,
) -> None:
    """Publish every part named in ``sizes`` (part -> rows, for progress) that is not published yet.

    ``build`` runs once in each actor, so it may load a model. Needs a running Ray unless ``workers`` is 0. Parts that
    were lost with their processes are tried again by new ones, since a node that dies takes parts with it that are not
    to blame; those that are lost twice are given up. Raises the first part's own error after all others were tried.
    """
    compute = context.compute
    if not isinstance(compute, MapCompute):
        raise TypeError(f"map_parts needs MapCompute, got {type(compute).__name__}")
    # The longest go first, so that no actor waits long for another's last one.
    missing = sorted(context.draft.missing(sizes), key=lambda name: -sizes[name])
    total = sum(sizes.values())
    done, finished = total - sum(sizes[name] for name in missing), len(sizes) - len(missing)
    if finished:
        log.info("%d of %d parts are there already", finished, len(sizes))
    context.progress(done, total, unit, f"{finished}/{len(sizes)} parts")
    failures: dict[str, tuple[str, str]] = {}
    lost_before: list[str] = []
    while missing and missing != lost_before:
        lost_before = missing
        for row in _mapped(build, missing, compute):
            if row["error"]:
                failures[row["name"]] = (row["error"], row["trace"])
                continue
            done, finished = done + row["rows"], finished + 1
            context.progress(done, total, unit, f"{finished}/{len(sizes)} parts")
        missing = [name for name in context.draft.missing(missing) if name not in failures]
    lost = context.draft.missing(sizes)
    if lost:
        _raise(lost, failures, len(sizes), context)


def in_place(context: StageContext) -> StageContext:
    """The same, for work that takes less than starting an actor: its parts are made in the calling process."""
    return replace(context, compute=context.compute.model_copy(update={"workers": 0}))


def map_light_parts(
    context: StageContext, build: Callable[[], PartWorker], sizes: Mapping[str, int], *, unit: str
) -> None:
    """As ``map_parts``, for work that loads no model: a single part is not worth an actor and is made here."""
    if len(sizes) > 1:
        map_parts(context, build, sizes, unit=unit)
        return
    for name in context.draft.missing(sizes):
        rows = build().process(name)
        context.progress(rows, rows, unit, "1/1 parts")


def map_model_parts(
    context: StageContext, build: Callable[[], PartWorker], sizes: Mapping[str, int], *, unit: str
) -> None:
    """As ``map_parts``, for work that loads a model: a single part is made here unless it needs a GPU.

    An actor would import and load for longer than a small model reads a few texts, on one of the cores.
    """
    compute = context.compute
    assert isinstance(compute, MapCompute)
    (map_parts if compute.gpus else map_light_parts)(context, build, sizes, unit=unit)


def _mapped(
    build: Callable[[], PartWorker], names: list[str], compute: MapCompute
) -> Iterable[dict[str, Any]]:
    if not names:
        return
    if compute.workers == 0:
        yield from map(_Actor(build), ({"name": name} for name in names))
        return
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    settings = DataContext.get_current()
    settings.max_errored_blocks = -1
    settings.enable_progress_bars = False
    actor: Any = _Actor  # Ray's annotation knows functions only
    rows = ray.data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
    with warnings.catch_warnings():
        # Ray Data retries crashed actors for ever unless told otherwise, and has no other place to say so.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        results = rows.map(
            actor,
            fn_constructor_args=(build,),
            compute=ActorPoolStrategy(size=min(compute.workers, len(names)), max_tasks_in_flight_per_actor=1),
            num_cpus=compute.cpus,
            num_gpus=compute.gpus or None,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(compute.threads), **KEEP_MEMORY}},
            max_restarts=2,
            max_task_retries=2,
        )
    yield from results.iter_rows()


def _raise(
    lost: list[str], failures: Mapping[str, tuple[str, str]], total: int, context: StageContext
) -> None:
    """Report what was lost, with the exit code of the first known cause."""
    summary = f"{len(lost)} of {total} parts failed"
    remedy = f"The other {total - len(lost)} are kept; run the same command to resume."
    where = f"{context.draft.stage}/{context.draft.fingerprint}"
    if not failures:
        names = ", ".join(lost[:3])
        problem = f"{summary}: {names} (their worker processes died)"
        raise ResourceError("E-MAP-CRASH", where, problem, remedy)
    name, (described, trace) = next(iter(failures.items()))
    log.debug("%s: %s", name, trace)
    error = _decode(described)
    if error is not None:
        raise type(error)(error.code, error.where, f"{error.problem} [{summary}]", f"{error.remedy} {remedy}")
    raise RuntimeError(f"{where}: {summary}: {name} ({described}); {remedy}\n{trace}")


def _encode(error: Exception) -> str:
    if isinstance(error, DescantError):
        return "\x1f".join([type(error).__name__, *map(str, error.args)])
    return f"{type(error).__name__}: {error}"


def _decode(text: str) -> DescantError | None:
    name, *arguments = text.split("\x1f")
    return getattr(errors, name)(*arguments) if len(arguments) == 4 else None
