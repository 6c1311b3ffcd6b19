"""Stores on URLs, on a real S3 server: commits from several machines, leases, damage, kills, lost answers."""

import json
import os
import re
import shutil
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
from descant.artifacts.commit import publish, published
from descant.artifacts.mirror import fetch, mirror_of, mirror_root
from descant.artifacts.store import Artifact, Store
from descant.artifacts.verify import repair, verify
from descant.core.errors import BusyError, ConfigError, DependencyError, IntegrityError
from tests.artifacts.build_one import ADDRESS, PARTS, build
from tests.object_store import VARIABLES, WRITES, Fate, Machine, proxy

QUICK = Pace(renew=0.1, lapse=1.0, poll=0.1)


def found(root: Path) -> Artifact:
    artifact = Store(root).find(*ADDRESS)
    assert artifact is not None
    return artifact


def texts(artifact: Artifact) -> dict[str, str]:
    return {name: artifact.path(name).read_text() for name in artifact.names()}


def object_of(url: str, artifact: Artifact, name: str) -> tuple[Bucket, str]:
    return Bucket(url), f"{artifact.address}/{artifact.part(name).path}"


def assert_whole(url: str, root: Path) -> None:
    """The result in the bucket is finished and right, and nothing else is left at its address."""
    artifact = found(root)
    assert verify(artifact) == []
    assert texts(artifact) == PARTS
    listed = {part.path for part in artifact.manifest.parts} | {"manifest.json"}
    listed |= {f"entries/{name}.json" for name in PARTS}
    assert {key.removeprefix(f"{artifact.address}/") for key in Bucket(url).sizes(artifact.address)} == listed


def test_result_is_found_and_read_on_another_machine(url: str, here: Machine, there: Machine) -> None:
    build(here.root(url))
    assert_whole(url, there.root(url))
    assert [artifact.address for artifact in Store(there.root(url)).all()] == ["/".join(ADDRESS)]
    assert Store(url).place == Store(here.root(url)).place == url


def test_part_that_is_a_folder_comes_whole_by_the_path_of_a_file_in_it(
    url: str, here: Machine, there: Machine
) -> None:
    def write(path: Path) -> None:
        (path / "sub").mkdir(parents=True)
        (path / "a.txt").write_text("a")
        (path / "sub" / "b.txt").write_text("b")

    part = publish(here.root(url) / "toy" / "abc", "model", write, rows=0)
    fetch(there.root(url) / "toy" / "abc" / part.path / "sub" / "b.txt")
    folder = there.root(url) / "toy" / "abc" / part.path
    assert {str(p.relative_to(folder)) for p in folder.rglob("*.txt")} == {"a.txt", "sub/b.txt"}


def test_machines_that_publish_at_once_have_one_winner_or_a_conflict(
    url: str, here: Machine, there: Machine
) -> None:
    folders = [machine.root(url) / "toy" / "abc" for machine in (here, there)]
    names = [f"part-{i:02d}" for i in range(12)]

    def attempt(folder: Path, name: str, text: str) -> str:
        try:
            return publish(folder, name, lambda path: path.write_text(text), rows=1).sha256
        except IntegrityError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        same = [[pool.submit(attempt, f, name, name) for f in folders] for name in names]
        other = [[pool.submit(attempt, f, f"x{name}", str(f)) for f in folders] for name in names]
    assert all(a.result() == b.result() != "E-ART-CONFLICT" for a, b in same)
    for name, pair in zip(names, other, strict=True):
        outcomes = [one.result() for one in pair]
        assert outcomes.count("E-ART-CONFLICT") == 1
        winner = next(one for one in outcomes if one != "E-ART-CONFLICT")
        for folder in folders:
            entry = published(folder, f"x{name}")
            assert entry is not None
            assert entry.sha256 == winner
            assert fetch(folder / entry.path).exists()


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


def test_damaged_object_is_refused_named_and_rebuilt_alone(url: str, here: Machine, there: Machine) -> None:
    build(here.root(url))
    before = found(here.root(url))
    bucket, key = object_of(url, before, "part-1")
    bucket.write(key, b"secund")
    with pytest.raises(IntegrityError, match="its name tells the digest"):
        found(there.root(url)).path("part-1")
    (problem,) = verify(before)
    assert re.match(r"part-1: .* the manifest says", problem)
    assert repair(before) == ["part-1"]
    assert Store(there.root(url)).find(*ADDRESS) is None
    build(there.root(url))
    assert_whole(url, here.root(url))


def test_damaged_copy_on_this_machine_is_fetched_again(url: str, here: Machine, there: Machine) -> None:
    build(here.root(url))
    artifact = found(there.root(url))
    artifact.path("part-0").write_text("fjrst")
    assert texts(found(there.root(url))) == PARTS
    assert verify(artifact) == []


def test_result_that_lost_an_object_is_not_finished(url: str, here: Machine) -> None:
    store = Store(here.root(url))
    with store.draft(ADDRESS[0], 1, ADDRESS[1], "toy", {}, {}) as draft:
        part = publish(draft.folder, "part-0", lambda path: path.write_text("first"), rows=1)
        Bucket(url).delete([f"{'/'.join(ADDRESS)}/{part.path}"])
        with pytest.raises(IntegrityError, match="holds 0 bytes"):
            draft.finish(["part-0"], {})
    assert store.find(*ADDRESS) is None


def test_cache_may_be_deleted_and_follows_what_the_bucket_lost(url: str, here: Machine) -> None:
    build(here.root(url))
    shutil.rmtree(here.root(url) / "toy")
    assert texts(found(here.root(url))) == PARTS
    bucket = Bucket(url)
    bucket.delete(bucket.sizes("toy"))
    assert Store(here.root(url)).find(*ADDRESS) is None
    assert list(Store(here.root(url)).all()) == []
    build(here.root(url))
    assert_whole(url, here.root(url))


@pytest.mark.parametrize(
    "place",
    [
        *(
            "http://host/x",
            "file:///x",
            "s3:///x",
            "s3://key:secret@bucket/x",
            "s3://bucket/../x",
            "s3://b/x?y=1",
        ),
        *(Path("s3://bucket/x"), f"s3://bucket/{'x' * 300}", "s3://bucket//x"),
    ],
)
def test_url_that_can_be_no_store_is_refused(place: str | Path) -> None:
    with pytest.raises(ConfigError, match="E-STORE-URL") as raised:
        Store(place)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url_", ["s3://bucket", "s3://bucket/a=b/%41 c", "gs://bucket/x", "abfs://box@account/x"]
)
def test_folder_of_a_store_tells_its_url(url_: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path))
    root = Store(url_).root
    assert root == mirror_root(url_)
    mirror = mirror_of(root / "stage" / "address")
    assert mirror is not None
    assert (mirror.root, mirror.bucket.url) == (root, url_)
    assert "%" not in str(root.relative_to(tmp_path))
