"""The commit protocol under kills at every system call, full disks, twins and tampering."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from descant.artifacts.commit import publish, published
from descant.artifacts.manifest import read_manifest
from descant.artifacts.store import Artifact, Store
from descant.artifacts.verify import repair, verify
from descant.core.errors import BusyError, IntegrityError, PolicyError, ResourceError
from descant.core.records import Rejected
from descant.testing.history import check_history
from tests.artifacts.build_one import ADDRESS, PARTS, build

PROGRAM = [sys.executable, "-m", "tests.artifacts.build_one"]


def finished(root: Path) -> Artifact:
    return check_history(Store(root), *ADDRESS)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "call", ["rename,renameat,renameat2", "link,linkat", "fsync", "unlink,unlinkat,rmdir"]
)
def test_kill_at_every_commit_call_then_same_command_gives_the_same_result(call: str, tmp_path: Path) -> None:
    build(tmp_path / "golden")
    golden = finished(tmp_path / "golden").manifest.digest
    for number in range(1, 60):
        root = tmp_path / str(number)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        command = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            inject,
            *PROGRAM,
            str(root),
        ]
        killed = subprocess.run(command, check=False).returncode != 0
        build(root)
        check_history(Store(root), *ADDRESS, golden_digest=golden)
        if not killed:
            break
    assert number > 2, "the sweep never hit a call"
    assert not killed, "the sweep did not reach the end"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_io_error_on_fsync_is_a_resource_error_and_publishes_nothing(tmp_path: Path) -> None:
    code = (
        "from descant.core.errors import DescantError; import sys\n"
        "from tests.artifacts.build_one import build; from pathlib import Path\n"
        "try: build(Path(sys.argv[1]))\n"
        "except DescantError as error: print(error.code); sys.exit(error.exit_code)"
    )
    inject = ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1"]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (4, "E-RES-STORE")
    assert read_manifest(Store(tmp_path).folder(*ADDRESS)) is None
    build(tmp_path)
    finished(tmp_path)


def test_part_is_content_named_and_read_back(tmp_path: Path) -> None:
    seen = []
    part = publish(
        tmp_path,
        "part-0",
        lambda path: path.write_text("text"),
        rows=3,
        suffix=".txt",
        check=lambda path: seen.append(path.read_text()),
        rejected=[Rejected("a", "f:1", "empty_text")],
        facts={"n": 1},
    )
    assert seen == ["text"]
    assert part.path == f"part-0-{part.sha256[:10]}.txt"
    assert (tmp_path / part.path).read_text() == "text"
    assert published(tmp_path, "part-0") == part
    assert not list((tmp_path / "tmp").iterdir())


def test_part_that_fails_its_check_is_not_published(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise IntegrityError("E-X", "part-0", "wrong", "none")

    with pytest.raises(IntegrityError):
        publish(tmp_path, "part-0", lambda path: path.write_text("x"), rows=1, check=refuse)
    assert published(tmp_path, "part-0") is None


def test_second_attempt_with_equal_bytes_is_a_no_op_and_with_others_a_conflict(tmp_path: Path) -> None:
    first = publish(tmp_path, "p", lambda path: path.write_text("same"), rows=1)
    assert publish(tmp_path, "p", lambda path: path.write_text("same"), rows=1) == first
    with pytest.raises(IntegrityError, match="not deterministic"):
        publish(tmp_path, "p", lambda path: path.write_text("other"), rows=1)
    assert (tmp_path / first.path).read_text() == "same"


def test_folder_part_keeps_a_digest_of_every_file(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        (path / "sub").mkdir(parents=True)
        (path / "a.txt").write_text("a")
        (path / "sub" / "b.txt").write_text("b")

    assert set(publish(tmp_path, "p", write, rows=0).files) == {"a.txt", "sub/b.txt"}


def test_full_disk_is_a_resource_error_and_earlier_parts_stay(tmp_path: Path) -> None:
    publish(tmp_path, "small", lambda path: path.write_text("x"), rows=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="disk is full") as caught:
            publish(tmp_path, "large", lambda path: path.write_bytes(b"x" * 200_000), rows=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.exit_code == 4
    assert published(tmp_path, "small") is not None
    assert published(tmp_path, "large") is None
    publish(tmp_path, "large", lambda path: path.write_bytes(b"x" * 200_000), rows=1)


@pytest.mark.parametrize("keep", [0, 3, "half", "n-1"])
def test_cut_part_is_refused_named_and_repaired_alone(keep: int | str, tmp_path: Path) -> None:
    build(tmp_path)
    artifact = finished(tmp_path)
    path = artifact.folder / artifact.part("part-1").path
    size = path.stat().st_size
    os.truncate(path, keep if isinstance(keep, int) else size // 2 if keep == "half" else size - 1)
    with pytest.raises(IntegrityError, match="part-1") as caught:
        Artifact(artifact.folder, artifact.manifest).path("part-1")
    assert caught.value.exit_code == 5
    assert repair(artifact) == ["part-1"]
    kept = artifact.folder / artifact.part("part-0").path
    written = kept.stat().st_mtime_ns
    build(tmp_path)
    assert finished(tmp_path).manifest.digest == artifact.manifest.digest
    assert kept.stat().st_mtime_ns == written


def test_flipped_bit_is_found_before_any_use(tmp_path: Path) -> None:
    build(tmp_path)
    artifact = finished(tmp_path)
    path = artifact.folder / artifact.part("part-0").path
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="promises sha256"):
        artifact.path("part-0")
    assert len(verify(artifact)) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"path": "../../etc/passwd"}, PolicyError),
        ({"path": "/etc/passwd"}, PolicyError),
        ({"path": ".hidden"}, PolicyError),
        ({"path": "missing.txt"}, IntegrityError),
        ({"files": {"": "0" * 64}}, IntegrityError),
        ({"files": {"../x": "0" * 64}}, PolicyError),
    ],
)
def test_tampered_manifest_is_refused_and_nothing_outside_is_opened(
    change: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    build(tmp_path)
    path = finished(tmp_path).folder / "manifest.json"
    values = json.loads(path.read_text())
    values["parts"][0].update(change)
    path.write_text(json.dumps(values))
    artifact = Store(tmp_path).find(*ADDRESS)
    assert artifact is not None
    with pytest.raises(error):
        artifact.path("part-0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "written by a newer version"),
        ({"schema_version": 0}, "written by an older version"),
        ({"surprise": 1}, "surprise"),
        ({"parts": "none"}, "parts"),
    ],
)
def test_manifest_of_another_form_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    build(tmp_path)
    path = finished(tmp_path).folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(IntegrityError, match=message):
        Store(tmp_path).find(*ADDRESS)


def test_manifest_cut_in_half_is_refused(tmp_path: Path) -> None:
    build(tmp_path)
    path = finished(tmp_path).folder / "manifest.json"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(IntegrityError, match="not a manifest"):
        Store(tmp_path).find(*ADDRESS)


def test_second_writer_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    code = (
        "import sys, time; from descant.artifacts.store import Store\n"
        "with Store(sys.argv[1]).draft('toy', 1, 'abc123abc123', 'toy', {}, {}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline().strip() == "held"
        with (
            pytest.raises(BusyError, match=f"process {owner.pid}") as caught,
            store.draft("toy", 1, ADDRESS[1], "toy", {}, {}),
        ):
            pass
        assert caught.value.exit_code == 9
    finally:
        owner.kill()
        owner.wait()
    build(tmp_path)
    finished(tmp_path)


def test_result_is_unfinished_until_its_manifest_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.draft(ADDRESS[0], 1, ADDRESS[1], "toy", {}, {}) as draft:
        publish(draft.folder, "part-0", lambda path: path.write_text("x"), rows=1, suffix=".txt")
        assert draft.missing(PARTS) == ["part-1"]
        assert store.find(*ADDRESS) is None
        with pytest.raises(IntegrityError, match="part-1"):
            draft.finish(PARTS, {})
    assert store.find(*ADDRESS) is None
    assert list(store.all()) == []
