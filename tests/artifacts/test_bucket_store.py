"""Stores on URLs, on a real S3 server: results from several machines, damage, hostile names."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from descant.artifacts.bucket import Bucket
from descant.artifacts.commit import publish, published
from descant.artifacts.mirror import fetch, mirror_of, mirror_root, pull_missing
from descant.artifacts.store import Store
from descant.artifacts.verify import repair, verify
from descant.core.errors import ConfigError, IntegrityError, PolicyError
from tests.artifacts.bucket_checks import assert_whole, files, found, object_of, texts
from tests.artifacts.build_one import ADDRESS, PARTS, build
from tests.object_store import BUCKET, Machine


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


@pytest.mark.parametrize("name", ["..", "...", "a/../../../../x", ".hidden", "a b"])
def test_object_whose_name_leads_elsewhere_is_refused_and_writes_nothing(
    name: str, url: str, server: str, here: Machine, tmp_path: Path
) -> None:
    part = publish(here.root(url) / "toy" / "abc", "part-0", lambda path: path.mkdir(), rows=0)
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    prefix = url.partition("://")[2].partition("/")[2]
    boto3.client("s3", endpoint_url=server, **keys).put_object(
        Bucket=BUCKET, Key=f"{prefix}/toy/abc/{part.path}/{name}", Body=b"x"
    )
    folder = here.root(url) / "toy" / "abc" / part.path
    before = files(tmp_path)
    for bring in (fetch, pull_missing):
        shutil.rmtree(folder, ignore_errors=True)
        with pytest.raises(PolicyError, match="E-PATH"):
            bring(folder)
    assert files(tmp_path) == before


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
