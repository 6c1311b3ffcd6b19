"""What can never be placed is refused, with what there is; what can be placed never is."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from descant.artifacts.store import Store
from descant.core.errors import ResourceError
from descant.core.request import Request
from descant.core.spec import Compute
from descant.run.job import load_recipe
from descant.run.placement import (
    Asked,
    Room,
    asked_by_trials,
    asked_of_job,
    fitting,
    refuse_without_room,
)
from descant.run.profile import Profile, TrialCompute, load_profile
from descant.stages.map_parts import MapCompute
from descant.stages.training.settings import TrainCompute

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "jobs" / "recipes" / "finetune_retriever" / "smoke.yaml"
COMPARISON = ROOT / "jobs" / "recipes" / "compare_adapters" / "smoke.yaml"

Node = tuple[int, tuple[int, ...]]
"""What is left of a node: hundredths of CPUs, and of each of its GPUs."""


def hundredths(amount: float) -> int:
    return round(100 * amount)


def most_placed(request: Request, rooms: list[Room]) -> int:
    """The most processes of the request that any way of placing them one by one reaches."""
    nodes = tuple(sorted((hundredths(room.cpus), (100,) * int(room.gpus)) for room in rooms))
    if not request.beside:
        return most_more(nodes, hundredths(request.cpus), hundredths(request.gpus), request.processes)
    starts = list(placed_once(nodes, hundredths(request.beside), 0))
    found = (
        most_more(start, hundredths(request.cpus), hundredths(request.gpus), request.processes)
        for start in starts
    )
    return max(found, default=0)


@cache
def most_more(nodes: tuple[Node, ...], cpus: int, gpus: int, left: int) -> int:
    if left == 0:
        return 0
    after = set(placed_once(nodes, cpus, gpus))
    return max((1 + most_more(one, cpus, gpus, left - 1) for one in after), default=0)


def placed_once(nodes: tuple[Node, ...], cpus: int, gpus: int) -> Iterator[tuple[Node, ...]]:
    """Every state after one process more."""
    for i, (free, devices) in enumerate(nodes):
        if free < cpus:
            continue
        for rest in devices_after(devices, gpus):
            yield tuple(sorted((*nodes[:i], (free - cpus, rest), *nodes[i + 1 :])))


def devices_after(devices: tuple[int, ...], gpus: int) -> Iterator[tuple[int, ...]]:
    if gpus >= 100:
        whole = [i for i, free in enumerate(devices) if free == 100][: gpus // 100]
        if len(whole) == gpus // 100:
            yield tuple(sorted(0 if i in whole else free for i, free in enumerate(devices)))
    elif gpus:
        for i, free in enumerate(devices):
            if free >= gpus:
                yield tuple(sorted((*devices[:i], free - gpus, *devices[i + 1 :])))
    else:
        yield devices


rooms_strategy = st.lists(
    st.builds(
        Room, cpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 4.5]), gpus=st.sampled_from([0.0, 1.0, 2.0])
    ),
    max_size=3,
)
request_strategy = st.builds(
    Request,
    processes=st.integers(1, 5),
    cpus=st.sampled_from([0.0, 0.1, 0.9, 1.0, 1.5, 2.0, 4.0]),
    gpus=st.sampled_from([0.0, 0.25, 0.33, 0.5, 0.6, 1.0, 2.0]),
    least=st.integers(1, 5),
    beside=st.sampled_from([0.0, 0.1, 1.0]),
)


@settings(max_examples=400, deadline=None)
@given(request_strategy, rooms_strategy)
def test_count_is_that_of_trying_every_placement(request: Request, rooms: list[Room]) -> None:
    assert fitting(request, rooms) == most_placed(request, rooms)


@settings(max_examples=200, deadline=None)
@given(request_strategy.filter(lambda request: request.least <= request.processes), rooms_strategy)
def test_refused_is_exactly_what_no_placement_gives_room(request: Request, rooms: list[Room]) -> None:
    asked = [Asked("a step", "embed", request)]
    if most_placed(request, rooms) >= request.least:
        refuse_without_room(asked, rooms, Profile())
    else:
        with pytest.raises(ResourceError, match="E-PLC-ROOM"):
            refuse_without_room(asked, rooms, Profile())
        refuse_without_room(asked, rooms, Profile(autoscales=True))


@pytest.mark.parametrize(
    ("request_", "rooms", "count"),
    [
        (Request(3, 2, 0, least=3), [Room(3, 0), Room(3, 0)], 2),  # 6 CPUs, but in halves of nodes
        (Request(3, 0, 0.6, least=3), [Room(8, 2)], 2),  # 2 GPUs hold 3 x 0.6, their devices do not
        (Request(4, 0.1, 0.25, least=4), [Room(1, 1)], 4),
        (Request(10, 0.1, 0, least=10), [Room(1, 0)], 10),  # 10 x 0.1 > 1 in binary fractions
        (Request(2, 1, 0, least=2, beside=0.1), [Room(2, 0)], 1),
        (Request(2, 1, 0, least=2, beside=0.1), [Room(2, 0), Room(0.1, 0)], 2),
        (Request(1, 1, 0, least=1), [], 0),
    ],
)
def test_count_of_known_cases(request_: Request, rooms: list[Room], count: int) -> None:
    assert fitting(request_, rooms) == count


@pytest.mark.parametrize(
    ("compute", "request_"),
    [
        (Compute(), None),
        (MapCompute(workers=0), None),
        (TrainCompute(workers=0), None),
        (MapCompute(workers=3, cpus=0.5, gpus=0.25), Request(3, 0.5, 0.25)),
        (TrainCompute(workers=4, cpus_per_worker=2, gpus_per_worker=1), Request(4, 2, 1, least=4)),
        (TrainCompute(workers=4, min_workers=2), Request(4, 1, 0, least=2)),
        (TrialCompute(cpus=2, gpus=1), Request(1, 2, 1)),
        (TrialCompute(cpus=1, most_at_once=3), Request(3, 1, 0)),
        (TrialCompute(workers=2, cpus=4, gpus=1), Request(2, 4, 1, least=2, beside=0.1)),
    ],
)
def test_section_says_what_its_step_asks_for(compute: Compute, request_: Request | None) -> None:
    assert compute.request == request_


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (MapCompute, {"gpus": 1.5}),
        (MapCompute, {"gpus": -1}),
        (MapCompute, {"cpus": -0.5}),
        (TrainCompute, {"workers": 2, "gpus_per_worker": 0.5}),
        (TrialCompute, {"workers": 2, "gpus": 0.5}),
        (TrialCompute, {"gpus": 2.5}),
    ],
)
def test_gpus_that_ray_or_nccl_would_refuse_are_refused_in_the_profile(
    cls: type[Compute], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match=r"GPU|greater than or equal"):
        cls(**values)


def test_share_of_a_gpu_is_for_actors_and_a_lone_worker() -> None:
    assert MapCompute(gpus=0.5).request is not None
    assert TrainCompute(workers=1, gpus_per_worker=0.5).device == "cuda"


@pytest.mark.parametrize(("profile", "gpus"), [("local", 0), ("gpu-4", 4), ("gpu-8", 8)])
def test_shipped_profile_fits_the_one_node_that_it_is_for(profile: str, gpus: int) -> None:
    found = load_profile(ROOT / "clusters" / profile)
    rooms = [Room(found.ray.num_cpus, gpus)]
    sections = {name: getattr(found, name) for name in Profile.model_fields}
    asked = [
        Asked(name, name, section.request)
        for name, section in sections.items()
        if isinstance(section, Compute) and section.request is not None
    ]
    assert len(asked) > 10
    refuse_without_room(asked, rooms, found)
    for one in asked:
        assert fitting(one.request, rooms) == one.request.processes, one
    short = [Room(3, gpus)] if gpus else [Room(0.5, 0)]
    with pytest.raises(ResourceError):
        refuse_without_room(asked, short, found)


def test_message_names_step_request_room_and_settings() -> None:
    profile = Profile.model_validate({"train": {"workers": 3, "cpus_per_worker": 2}})
    rooms = [Room(4, 0), Room(1, 0), Room(1, 0)]
    asked = next(one for one in asked_of_smoke(profile) if one.section == "train")
    with pytest.raises(ResourceError) as raised:
        refuse_without_room([asked], rooms, profile)
    message = str(raised.value)
    assert raised.value.exit_code == 4
    for part in (
        asked.label,
        "asks for 3 x 2 CPU together, the cluster has room for 2: 1 node with 4 CPU, 2 nodes with 1 CPU",
        "No step was started",
        "lower workers, cpus_per_worker or gpus_per_worker of train",
    ):
        assert part in message


def asked_of_smoke(profile: Profile) -> list[Asked]:
    return asked_of_job(load_recipe(SMOKE).job, Store("/nowhere"), profile)


def test_only_steps_in_processes_of_their_own_ask() -> None:
    found = {one.section for one in asked_of_smoke(Profile())}
    assert found == {"embed", "build_index", "mine_examples", "evaluate", "train"}
    none = {name: {"workers": 0} for name in found}
    assert asked_of_smoke(Profile.model_validate(none)) == []


def test_comparison_asks_for_room_for_a_trial_too() -> None:
    profile = Profile.model_validate({"trial": {"workers": 2, "cpus": 3}})
    asked = asked_of_job(load_recipe(COMPARISON).job, Store("/nowhere"), profile)
    assert asked[-1] == asked_by_trials(profile)
    with pytest.raises(ResourceError, match=r"each trial: asks for 2 x 3 CPU \+ 0.1 CPU together"):
        refuse_without_room(asked, [Room(6, 0)], profile)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_works_with_some_actors_and_what_it_could_never_place_is_refused_at_once(tmp_path: Path) -> None:
    """The two facts that placement rests on, in a Ray of two CPUs: it hangs without room for one, not for all."""
    import ray
    from ray.data import ActorPoolStrategy

    from descant.run.cluster import ray_session
    from descant.run.main import run_recipe
    from descant.run.placement import rooms_of_ray
    from descant.run.profile import RayCompute

    class Same:
        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return row

    (tmp_path / "compute.yaml").write_text("embed: {workers: 1, cpus: 4}\n")
    with ray_session(RayCompute(num_cpus=2, object_store_megabytes=80)):
        assert rooms_of_ray() == [Room(2, 0)]
        rows = ray.data.from_items([{"n": i} for i in range(4)], override_num_blocks=4)
        mapped = rows.map(Same, compute=ActorPoolStrategy(size=3), num_cpus=1)  # type: ignore[arg-type]
        assert len(list(mapped.iter_rows())) == 4
        from rich.console import Console

        started = time.monotonic()
        with pytest.raises(
            ResourceError, match="asks for 1 x 4 CPU, the cluster has room for 0: 1 node with 2"
        ):
            run_recipe(
                SMOKE,
                overrides=(),
                compute=tmp_path,
                store=Store(tmp_path / "store"),
                console=Console(quiet=True),
                accept_drift=False,
                force=False,
            )
        assert time.monotonic() - started < 30
