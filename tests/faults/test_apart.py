"""Machines that share no disk: what they make goes by way of an object store, a real S3 server."""

import shutil
import time
from collections.abc import Iterator

import pytest

from descant.artifacts.bucket import Bucket
from descant.artifacts.store import Artifact, Store
from descant.artifacts.verify import verify
from tests.faults.command import new_home, output
from tests.faults.hosts import Hosts, may_make_namespaces
from tests.faults.runs import SAVE_STEPS, Home, losses
from tests.object_store import BUCKET, VARIABLES, Machine, s3_server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.netns, pytest.mark.timeout(600)]

COMPUTE = """\
embed: {workers: 2, cpus: 1.6, threads: 1}
train: {workers: 2, cpus_per_worker: 1.6, zero: 1}
"""
CPUS = 3
URL = f"s3://{BUCKET}/team"


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    if not may_make_namespaces():
        pytest.skip("network namespaces cannot be made here")
    folder = new_home()
    made = Hosts(folder)
    try:
        with s3_server(made.gateway) as server:
            for name, value in {**VARIABLES, "AWS_ENDPOINT_URL": server}.items():
                monkeypatch.setenv(name, value)
            made.start(workers=2, cpus=CPUS)
            yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run() -> Iterator[Home]:
    home = Home(COMPUTE)
    yield home
    home.close()


def checkpoints() -> set[str]:
    """The finished checkpoints in the bucket."""
    keys = Bucket(URL).sizes("train")
    return {key for key in keys if "/checkpoints/step-" in key and key.endswith("/manifest.json")}


def test_run_over_hosts_that_share_no_disk_and_one_that_is_replaced_gives_the_same_results(
    golden: Home, run: Home, hosts: Hosts
) -> None:
    """Rows, models and shards of checkpoints reach every host, also one that comes in the middle of a training."""
    process = run.start(*hosts.on_head, **hosts.variables, DESCANT_STORE=URL, DESCANT_HOME=str(hosts.own))
    while not checkpoints():
        assert process.poll() is None, output(run.folder)
        time.sleep(0.2)
    hosts.kill(2)
    hosts.add_worker(CPUS)
    run.finish(process)

    store = Store(Machine(run.folder / "observer").root(URL))
    found = {artifact.address: artifact for artifact in store.all()}
    expected = {artifact.address: artifact for artifact in golden.store.all()}
    assert set(found) == set(expected)
    for address, artifact in found.items():
        assert verify(artifact) == []
        assert contents(artifact) == contents(expected[address]), address
    (trained,) = (artifact for artifact in found.values() if artifact.manifest.stage == "train")
    assert trained.manifest.facts["resumed_at"] >= SAVE_STEPS
    assert not any("/training/" in key or "/lease-" in key for key in Bucket(URL).sizes(""))


def contents(artifact: Artifact) -> object:
    """What a result holds, without what is a matter of time."""
    if artifact.manifest.stage == "train":
        return artifact.part("retriever").sha256, losses(artifact)
    if artifact.manifest.stage == "report":
        return artifact.names()
    return artifact.manifest.digest
