"""Stores on URLs under kills, lost answers, refusals and owners that died: a real S3 server behind a proxy."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import s3fs

from descant.artifacts.bucket import Bucket
from descant.artifacts.bucket_lease import Pace, bucket_lease
from descant.artifacts.mirror import mirror_of
from descant.core.errors import BusyError, DependencyError
from tests.artifacts.bucket_checks import assert_whole
from tests.artifacts.build_one import ADDRESS, build
from tests.object_store import VARIABLES, WRITES, Fate, Machine, proxy

QUICK = Pace(renew=0.1, lapse=1.0, poll=0.1)


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.artifacts.build_forked"],
        env={**os.environ, **VARIABLES},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("fate", ["lose the request", "lose the answer"])
def test_kill_at_every_write_then_the_same_command_elsewhere_gives_the_same_result(
    fate: Fate, server: str, url: str, forks: subprocess.Popen[str], tmp_path: Path
) -> None:
    """The process is killed as its n-th write leaves it, or when that is done and not yet answered."""
    for number in range(1, 40):
        place = f"{url}/{number}"
        killed = killed_at(number, fate, server, forks, Machine(tmp_path / f"a{number}").root(place))
        forget_leases(place)
        root = Machine(tmp_path / f"b{number}").root(place)
        build(root)
        assert_whole(place, root)
        if not killed:
            break
    assert number > 6, "the sweep never hit a write"
    assert not killed, "the sweep did not reach the end"


def killed_at(number: int, fate: Fate, server: str, forks: subprocess.Popen[str], root: Path) -> bool:
    """Build at ``root`` in a process that is killed at its write of this number; whether it made as many."""
    assert forks.stdin is not None
    assert forks.stdout is not None
    child = Future[int]()
    writes = 0

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(child.result(), signal.SIGKILL)

    def judge(method: str, _: int) -> Fate:
        nonlocal writes
        writes += method in WRITES
        if writes < number or method not in WRITES:
            return "pass"
        if fate == "lose the request":
            kill()
        return fate

    with proxy(server, judge, after_loss=kill) as address:
        forks.stdin.write(json.dumps([str(root), address]) + "\n")
        forks.stdin.flush()
        child.set_result(int(forks.stdout.readline()))
        return int(forks.stdout.readline()) != 0


def forget_leases(place: str) -> None:
    """What a minute's wait does."""
    bucket = Bucket(place)
    bucket.delete(key for key in bucket.sizes("/".join(ADDRESS)) if "/lease-" in key)


def test_answer_that_is_lost_is_asked_for_again_and_changes_nothing(
    server: str, url: str, here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conditional write whose answer was lost is refused when it is tried again: by what it wrote itself."""

    def judge(method: str, number: int) -> Fate:
        return "lose the answer" if method in WRITES and number % 3 == 0 else "pass"

    with proxy(server, judge) as address:
        fresh_connections(monkeypatch, address)
        build(here.root(url))
    fresh_connections(monkeypatch, server)
    assert_whole(url, there.root(url))


@pytest.mark.parametrize(
    ("fate", "code", "message"),
    [
        ("refuse", "E-STORE-AWAY", "Access Denied"),
        ("forget the condition", "E-STORE-CONDITIONAL", "could overwrite each other"),
    ],
)
def test_object_store_that_refuses_or_forgets_conditions_is_not_written_to(
    fate: Fate, code: str, message: str, server: str, url: str, here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(server, lambda method, number: fate) as address:
        fresh_connections(monkeypatch, address)
        with pytest.raises(DependencyError, match=message) as raised:
            build(here.root(url))
    assert raised.value.code == code
    fresh_connections(monkeypatch, server)
    assert Bucket(url).sizes("/".join(ADDRESS)) == {}


def test_object_store_that_does_not_answer_is_said_within_seconds(
    url: str, here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh_connections(monkeypatch, "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(DependencyError, match=r"E-STORE-AWAY.*credentials"):
        build(here.root(url))
    assert time.monotonic() - started < 15


def fresh_connections(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Have whoever asks next connect to ``address``."""
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)


def test_writer_elsewhere_is_refused_while_the_first_lives(url: str, here: Machine, there: Machine) -> None:
    folders = [machine.root(url) / "toy" / "abc" for machine in (here, there)]
    first, second = (bucket_lease(folder, QUICK) for folder in folders)
    with first, pytest.raises(BusyError, match="is writing it"):
        second.__enter__()
    with bucket_lease(folders[1], QUICK):
        pass
    assert Bucket(url).sizes("toy/abc") == {}


def test_silent_owner_is_followed_by_one_of_many_heirs(url: str, here: Machine, tmp_path: Path) -> None:
    address = "toy/abc"
    dead = {"owner": "process 1 on gone", "machine": "gone", "token": "t", "renewed": 3}
    Bucket(url).write(f"{address}/lease-000001.json", json.dumps(dead).encode())
    held, refused = [], []

    def heir(number: int) -> None:
        try:
            with bucket_lease(Machine(tmp_path / str(number)).root(url) / "toy" / "abc", QUICK):
                held.append(number)
                time.sleep(2.5)
        except BusyError:
            refused.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(heir, range(4)))
    assert (len(held), len(refused)) == (1, 3)
    assert Bucket(url).sizes(address) == {}


def test_owner_that_died_on_this_machine_is_followed_at_once(url: str, here: Machine) -> None:
    folder = here.root(url) / "toy" / "abc"
    mirror = mirror_of(folder)
    assert mirror is not None
    dead = {"owner": "process 1 here", "machine": mirror.machine, "token": "t", "renewed": 3}
    mirror.bucket.write("toy/abc/lease-000007.json", json.dumps(dead).encode())
    started = time.monotonic()
    with bucket_lease(folder, Pace()):
        assert list(mirror.bucket.sizes("toy/abc")) == [f"toy/abc/lease-{n:06d}.json" for n in (7, 8)]
    assert time.monotonic() - started < 5
