"""Jobs on a real cluster of this machine: submitted, followed, left, stopped, submitted again; no secret anywhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from descant.artifacts.store import Store
from descant.artifacts.verify import verify
from descant.run.clusters.jobs import find_job, list_jobs
from descant.run.clusters.local import MARK, LocalCluster, down, up
from descant.run.clusters.marked import marked
from descant.run.profile import RayCompute
from tests.run.own_jobs import CANARY, PASSAGES, write_place

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(400)]

COMPUTE = RayCompute(num_cpus=3, object_store_megabytes=80)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DESCANT_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_TOKEN", CANARY)
        yield
        down()


@pytest.fixture
def cluster(home: None) -> LocalCluster:
    """One for all tests, unless a test has killed it."""
    return up(COMPUTE)[0]


def started(place: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "HF_TOKEN": CANARY,
        "DESCANT_STORE": str(place / "store"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "descant.cli", *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """What a shell's background job is started with is inherited: to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ran(place: Path, *arguments: str) -> tuple[int, str]:
    process = started(place, *arguments)
    printed, _ = process.communicate(timeout=240)
    return process.returncode, printed


def until(cluster: LocalCluster, job: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while find_job(cluster.api, job).state != state:
        assert time.monotonic() < deadline, find_job(cluster.api, job)
        time.sleep(0.2)


def waits(cluster: LocalCluster, place: Path, seconds: float) -> str:
    """The id of a job that was submitted to wait so long, and runs."""
    code, printed = ran(place, "submit", "jobs/recipes/wait.yaml", "--set", f"seconds={seconds}", "--detach")
    assert code == 0, printed
    job = printed.split()[1]
    until(cluster, job, "running")
    return job


def test_doctor_finds_nothing_wrong_and_leaves_nothing(cluster: LocalCluster, place: Path) -> None:
    code, printed = ran(place, "doctor")
    assert code in (0, 7), printed
    assert code == 0 or "GiB free" in printed, "a disk that is nearly full is all that may be wrong here"
    assert "token accepted" in printed
    assert "libraries on" in printed
    assert list((place / "store").glob("doctor-*")) == []


def test_recipe_runs_on_the_cluster_and_its_results_are_in_the_store(
    cluster: LocalCluster, place: Path
) -> None:
    code, printed = ran(place, "submit", "jobs/recipes/embed.yaml", "--cluster", "local")
    assert code == 0, printed
    assert "[2/2] embed" in printed
    assert "succeeded" in printed
    assert "@progress" not in printed
    (vectors,) = [found for found in Store(place / "store").all() if found.address.startswith("embed/")]
    assert verify(vectors) == []
    code, printed = ran(place, "plan", "jobs/recipes/embed.yaml")
    assert "2 of 2 steps are done" in printed, "the same recipe has another address here"


def test_second_submission_is_the_same_job(cluster: LocalCluster, place: Path) -> None:
    ran(place, "submit", "jobs/recipes/embed.yaml")
    before = list_jobs(cluster.api)
    code, printed = ran(place, "submit", "jobs/recipes/embed.yaml")
    assert code == 0
    assert "was submitted before: succeeded" in printed
    assert list_jobs(cluster.api) == before


def test_two_clients_at_once_start_one_job(cluster: LocalCluster, place: Path) -> None:
    arguments = ("submit", "jobs/recipes/wait.yaml", "--set", "seconds=0.4", "--detach")
    both = [started(place, *arguments) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sorted("was submitted before" in text for text in printed) == [False, True], printed
    assert len({text.split()[1] for text in printed}) == 1


def test_failed_job_ends_as_it_did_and_succeeds_once_its_data_are_right(
    cluster: LocalCluster, place: Path
) -> None:
    recipe = place / "jobs" / "recipes" / "broken.yaml"
    recipe.write_text((place / "jobs" / "recipes" / "embed.yaml").read_text() + "note: broken\n")
    corpus = place / "jobs" / "data" / "mine" / "corpus.jsonl"
    right = corpus.read_text()
    corpus.write_text("this is no JSON\n" * 200)
    try:
        code, printed = ran(place, "submit", str(recipe))
    finally:
        corpus.write_text(right)
    assert code == 3, printed
    assert "failed" in printed
    (failed,) = [job for job in list_jobs(cluster.api) if job.recipe == str(recipe)]
    assert failed.exit_code == 3
    code, printed = ran(place, "submit", str(recipe))
    assert code == 0, printed


def test_stopped_job_goes_on_under_its_next_id(cluster: LocalCluster, place: Path) -> None:
    job = waits(cluster, place, 300)
    assert ran(place, "jobs", "stop", job[:-4])[1].split()[-1] == "stopped"
    assert ran(place, "jobs", "stop", job)[1].split()[-4:] == ["had", "ended", "already:", "stopped"]
    again = waits(cluster, place, 300)
    assert again == f"{job}-2"
    assert find_job(cluster.api, job[:-4]).id == again
    assert ran(place, "jobs", "stop", again)[0] == 0


def test_interrupt_leaves_the_job_running(cluster: LocalCluster, place: Path) -> None:
    process = started(place, "submit", "jobs/recipes/wait.yaml", "--set", "seconds=301")
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if "starting Ray" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    job = lines[0].split()[1]
    assert process.returncode == 130
    assert f"descant jobs logs -f {job}" in rest
    assert f"descant jobs stop {job}" in rest
    assert find_job(cluster.api, job).state == "running"
    code, log = ran(place, "jobs", "logs", job)
    assert code == 0
    assert "starting Ray" in log
    follows = started(place, "jobs", "logs", "-f", job)
    assert follows.stdout is not None
    assert any("starting Ray" in line for line in follows.stdout)
    assert ran(place, "jobs", "stop", job)[0] == 0
    assert "stopped" in follows.communicate(timeout=60)[0]
    assert follows.returncode != 0


def test_job_that_is_not_there_is_said(cluster: LocalCluster, place: Path) -> None:
    code, printed = ran(place, "jobs", "status", "nothing-like-it")
    assert code == 2
    assert "jobs list" in printed


def test_hostile_name_and_value_run_nothing(cluster: LocalCluster, place: Path) -> None:
    recipe = place / "jobs" / "recipes" / "$(touch owned); 'x\".yaml"
    shutil.copy(place / "jobs" / "recipes" / "embed.yaml", recipe)
    code, printed = ran(
        place, "submit", str(recipe), "--set", "note='$(touch owned) `touch owned`; touch owned'"
    )
    assert code == 0, printed
    assert list(place.rglob("owned")) == []
    assert list(Path(cluster.folder).rglob("owned")) == []


def test_secrets_are_nowhere(cluster: LocalCluster, place: Path) -> None:
    """After everything above: in no file of the cluster and the store, in no job's description, in no process."""
    ran(place, "submit", "jobs/recipes/embed.yaml")
    places = [Path(cluster.folder), place / "store"]
    files = [path for folder in places for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    token = Path(cluster.token).read_text()
    for path in files:
        found = path.read_bytes()
        assert CANARY.encode() not in found, path
        assert token.encode() not in found, path
    told = json.dumps(cluster.api.get("api/jobs/"))
    assert CANARY not in told
    assert token not in told
    running = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert CANARY not in running
    assert token not in running


def entries(store: Path) -> dict[str, int]:
    """Every published part of vectors, and when that was."""
    return {path.name: path.stat().st_mtime_ns for path in store.glob("embed/*/entries/*.json")}


def test_cluster_that_is_killed_and_the_same_submission_to_the_next_one_change_nothing(
    cluster: LocalCluster, place: Path
) -> None:
    """All of its processes at once, as a machine that loses power. Last in this file: its log of jobs is gone then."""
    assert ran(place, "submit", "jobs/recipes/embed.yaml")[0] == 0
    apart = place / "apart"
    submit = ("submit", "jobs/recipes/embed.yaml", "--store", str(apart))
    assert ran(place, *submit, "--detach")[0] == 0
    deadline = time.monotonic() + 120
    while len(entries(apart)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in marked(MARK, str(Path(cluster.token).parent)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    before = entries(apart)
    assert 3 <= len(before) < PASSAGES, "the job ended before it could be disturbed"

    assert up(COMPUTE)[1]
    code, printed = ran(place, *submit)
    assert code == 0, printed
    after = entries(apart)
    assert len(after) == PASSAGES
    assert {name: after[name] for name in before} == before, "a part that was there was made again"
    golden = {result.address: result.manifest.digest for result in Store(place / "store").all()}
    results = list(Store(apart).all())
    assert {result.manifest.stage for result in results} == {"embed", "fetch"}
    for result in results:
        assert verify(result) == []
        assert result.manifest.digest == golden[result.address]
