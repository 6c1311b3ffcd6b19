"""What the doctor makes of what the nodes say."""

import os
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from descant.artifacts.bucket import Bucket
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.doctor import Finding, examine, findings_of, findings_table
from descant.run.clusters.probe import data_problem, libraries, look, store_problem, temporary_folder
from descant.run.clusters.reach import Cluster
from tests.object_store import BUCKET, VARIABLES, proxy, s3_server

WORD = "doctor-0123"
ROOM = {"free_bytes": 1 << 40, "temporary_free_bytes": 1 << 40, "temporary_used": 0.5}
"""The disks of the machine that runs the tests may be full."""


@pytest.fixture
def answer(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / WORD).write_text(WORD)
    return look(str(tmp_path), WORD, 0, str(tmp_path)) | ROOM


def problems(answer: dict[str, Any], *, has_gpus: bool = False) -> dict[str, str]:
    found = findings_of("a", answer, "/store", has_gpus=has_gpus)
    return {finding.subject: finding.found for finding in found if finding.remedy}


def test_this_machine_is_as_it_is(answer: dict[str, Any]) -> None:
    assert problems(answer) == {}


@pytest.mark.parametrize(
    ("changes", "subject", "said"),
    [
        ({"python": "2.7.18"}, "libraries on a", "Python 2.7.18"),
        ({"libraries": libraries() | {"torch": "1.0.0"}}, "libraries on a", "torch 1.0.0"),
        ({"libraries": {"ray": libraries()["ray"]}}, "libraries on a", "no torch"),
        ({"store": "is not the folder"}, "store on a", "is not the folder"),
        ({"free_bytes": 1 << 30}, "store on a", "1 GiB free"),
        ({"temporary_free_bytes": 4 << 30}, "temporary folder on a", "4 GiB free"),
        ({"temporary_used": 0.955}, "temporary folder on a", "96% used"),
        ({"data": "there is no /data"}, "data on a", "/data"),
    ],
)
def test_what_is_wrong_is_named(
    answer: dict[str, Any], changes: dict[str, Any], subject: str, said: str
) -> None:
    found = problems(answer | changes)
    assert list(found) == [subject]
    assert said in found[subject]


def test_torch_for_cpus_beside_gpus_is_wrong(answer: dict[str, Any]) -> None:
    assert list(problems(answer | {"torch_cuda": ""}, has_gpus=True)) == ["torch on a"]
    assert problems(answer | {"torch_cuda": "13.0"}, has_gpus=True) == {}


def test_build_of_a_version_makes_no_difference(answer: dict[str, Any]) -> None:
    torch = answer["libraries"]["torch"].split("+")[0]
    other = answer["libraries"] | {"torch": f"{torch}+cu130"}
    assert problems(answer | {"libraries": other}) == {}


def test_folder_that_the_nodes_do_not_share_is_seen(tmp_path: Path) -> None:
    assert "not the folder" in store_problem(str(tmp_path), WORD, 1)
    (tmp_path / WORD).write_text("another word")
    assert "other contents" in store_problem(str(tmp_path), WORD, 1)
    (tmp_path / WORD).write_text(WORD)
    assert store_problem(str(tmp_path), WORD, 1) == ""
    assert [path.name for path in tmp_path.iterdir()] == [WORD]


def test_bucket_that_the_nodes_cannot_use_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        for name, value in {**VARIABLES, "AWS_ENDPOINT_URL": server}.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        bucket = Bucket(f"s3://{BUCKET}/team")
        assert "other contents" in store_problem(bucket.url, WORD, 1)
        bucket.write(WORD, WORD.encode())
        assert store_problem(bucket.url, WORD, 1) == ""
        assert sorted(bucket.sizes("")) == ["conditional-writes", WORD]
        with proxy(server, lambda method, number: "refuse") as address:
            S3FileSystem.clear_instance_cache()
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            assert "Forbidden" in store_problem(bucket.url, WORD, 1)


def test_temporary_folder_is_shown_where_all_is_well(answer: dict[str, Any], tmp_path: Path) -> None:
    found = {finding.subject: finding.found for finding in findings_of("a", answer, "/s", has_gpus=False)}
    assert found["temporary folder on a"] == f"{tmp_path}, 1,024 GiB free, 50% used"


def test_use_of_the_temporary_folder_is_counted_as_ray_counts_it(tmp_path: Path) -> None:
    """Ray takes what is reserved for root for used, df does not."""
    disk = os.statvfs(tmp_path)
    seen = look(str(tmp_path), WORD, 0, temporary_folder(f"{tmp_path}/session_1/sockets/plasma_store"))
    assert seen["temporary"] == str(tmp_path)
    assert seen["temporary_used"] == pytest.approx(1 - disk.f_bavail / disk.f_blocks, abs=0.01)
    assert seen["temporary_free_bytes"] == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.05)


def test_data_that_are_not_there_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_DATA", str(tmp_path))
    assert data_problem() == ""
    monkeypatch.setenv("DESCANT_DATA", str(tmp_path / "no"))
    assert str(tmp_path / "no") in data_problem()


def test_cluster_that_is_away_is_the_only_finding(tmp_path: Path) -> None:
    (tmp_path / "token").touch(0o600)
    cluster = Cluster("x", ClusterApi("http://127.0.0.1:9", tmp_path / "token"), None, None, "python", None)
    (finding,) = examine(cluster, str(tmp_path))
    assert finding.subject == "connection"
    assert "no answer" in finding.found
    assert finding.remedy


def test_table_says_what_to_do_below_what_is_wrong() -> None:
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as shown:
        console.print(findings_table([Finding("one", "well"), Finding("two", "[bad]", "Mend it.")]))
    lines = [line.split() for line in shown.get().splitlines()]
    assert lines == [["✓", "one", "well"], ["✗", "two", "[bad]"], ["Mend", "it."]]
