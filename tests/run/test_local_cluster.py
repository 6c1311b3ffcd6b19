"""The cluster of this machine: started once, private, found again, ended without a trace."""

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from descant.core.errors import DependencyError, PolicyError
from descant.run.clusters.local import LOG, MARK, TOKEN, LocalCluster, down, find, up
from descant.run.clusters.status import jobs_line, status_of
from descant.run.profile import RayCompute

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(300)]

COMPUTE = RayCompute(num_cpus=3, object_store_megabytes=80)
CANARY = "c4nary-b3c0mes-a-secret"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("DESCANT_HOME", str(folder))
        patch.setenv("HF_TOKEN", CANARY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
        patch.setenv("PLAIN_VALUE", "plain")
        yield folder
        down()


@pytest.fixture
def cluster(home: Path) -> LocalCluster:
    return up(COMPUTE)[0]


def marked(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home / "clusters" / "local"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "descant.cli", "cluster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer(url: str, headers: dict[str, str], data: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_second_up_finds_the_first(cluster: LocalCluster) -> None:
    assert up(COMPUTE) == (cluster, False)
    assert find() == cluster


def test_its_files_are_its_owners_alone(cluster: LocalCluster, home: Path) -> None:
    state = home / "clusters" / "local"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, Path(cluster.folder), state / TOKEN)}
    assert list(modes.values()) == [0o700, 0o700, 0o600]
    assert len((state / TOKEN).read_text()) == 64


def test_only_who_has_the_token_is_let_in(cluster: LocalCluster) -> None:
    token = Path(cluster.token).read_text()
    jobs = f"{cluster.url}/api/jobs/"
    assert answer(jobs, {}) == 401
    assert answer(jobs, {"Authorization": "Bearer " + 64 * "0"}) == 403
    assert answer(jobs, {"Authorization": f"Bearer {token}"}) == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_page_of_another_site_starts_nothing(cluster: LocalCluster, headers: dict[str, str]) -> None:
    """With the token even, as a browser would send the cookie it has."""
    token = Path(cluster.token).read_text()
    asked = headers | {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "User-Agent": "Mozilla/5.0",
    }
    body = json.dumps({"entrypoint": "true"}).encode()
    assert answer(f"{cluster.url}/api/jobs/", asked, body) in (403, 405)
    assert cluster.api.get("api/jobs/") == []


def test_dashboard_listens_on_the_loopback_address_alone(cluster: LocalCluster) -> None:
    port = int(cluster.url.rpartition(":")[2])
    listening = {
        found.laddr.ip
        for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port
    }
    assert listening == {"127.0.0.1"}


def test_secrets_of_the_environment_stay_behind(cluster: LocalCluster, home: Path) -> None:
    processes = marked(home)
    assert len(processes) >= 4
    assert all(process.environ()["PLAIN_VALUE"] == "plain" for process in processes)
    assert not any(CANARY in process.environ().values() for process in processes)
    files = [path for path in Path(cluster.folder).rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not any(CANARY.encode() in path.read_bytes() for path in files)


def test_status_tells_its_nodes_and_jobs(cluster: LocalCluster) -> None:
    status = status_of(cluster.api)
    (node,) = status.nodes
    assert (node.is_head, node.is_alive, node.cpus, node.gpus) == (True, True, 3, 0)
    assert jobs_line(status) == "none yet"
    printed = told("status", "local")
    assert printed.returncode == 0, printed.stderr
    assert "(head)  alive" in printed.stdout
    assert "jobs: none yet" in printed.stdout


def test_token_that_became_readable_is_refused(cluster: LocalCluster) -> None:
    Path(cluster.token).chmod(0o644)
    try:
        with pytest.raises(PolicyError, match="chmod 600"):
            find()
    finally:
        Path(cluster.token).chmod(0o600)


def test_cluster_whose_head_died_is_started_anew(cluster: LocalCluster, home: Path) -> None:
    before = {process.pid for process in marked(home)}
    for process in marked(home):
        if "gcs_server" in process.name() or "dashboard" in " ".join(process.cmdline()):
            process.kill()
    assert find() is None
    again, is_new = up(COMPUTE)
    assert is_new
    assert again.folder != cluster.folder
    assert not Path(cluster.folder).exists()
    assert not before & {process.pid for process in marked(home)}


def test_down_ends_its_own_and_nothing_else(cluster: LocalCluster, home: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], env=os.environ | {MARK: "/another/cluster"})
    try:
        assert down() >= 4
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert marked(home) == []
    assert not Path(cluster.folder).exists()
    assert sorted(path.name for path in (home / "clusters" / "local").iterdir()) == [LOG]
    assert down() == 0
    assert find() is None
    ended = told("status", "local")
    assert ended.returncode == 7
    assert "descant cluster up local" in ended.stderr


def test_ray_that_does_not_start_says_where_it_says_why(home: Path) -> None:
    down()
    with pytest.raises(DependencyError) as raised:
        up(RayCompute(num_cpus=1, object_store_megabytes=1))
    log = home / "clusters" / "local" / LOG
    assert str(log) in str(raised.value)
    assert log.stat().st_size > 0
    assert marked(home) == []
