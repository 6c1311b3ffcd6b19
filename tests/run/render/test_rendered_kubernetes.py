"""What is applied to Kubernetes: valid for its schemas and KubeRay's, and what the operator asks for beyond them."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from descant.core.errors import ConfigError
from tests.golden.rendered import GOLDEN, SMOKE
from tests.run.render.clusters import documents, rendered_with

pytest.importorskip("kubernetes_validate")

from tests.run.render.ray_schema import problems

FILES = ("rayjob.yaml", "raycluster.yaml")
REDIS = {
    "address": "redis.descant.svc:6379",
    "reached": {"cidr": "10.1.2.3/32", "port": 6379},
    "secret": "redis-password",
    "key": "password",
}
FIXED = [
    {
        "name": "cpu",
        "cpus": 16,
        "memory_gigabytes": 32,
        "shared_memory_gigabytes": 8,
        "gpus": 0,
        "least": 4,
        "most": 4,
    },
    {
        "name": "gpu",
        "cpus": 16,
        "memory_gigabytes": 64,
        "shared_memory_gigabytes": 8,
        "gpus": 4,
        "least": 2,
        "most": 2,
    },
]
"""Groups that do not change their size."""


def golden(name: str) -> str:
    return (GOLDEN / "kuberay" / name).read_text()


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_valid_for_every_schema(name: str) -> None:
    for document in documents(golden(name)):
        assert problems(document) == []


@pytest.mark.parametrize("name", FILES)
def test_fault_tolerance_and_fixed_groups_are_valid_too(name: str, tmp_path: Path) -> None:
    files = rendered_with("kuberay", tmp_path, fault_tolerance=REDIS, workers=FIXED)
    for document in documents(files[name]):
        assert problems(document) == []
    spec = cluster_spec(files[name])
    assert spec["enableInTreeAutoscaling"] is False
    assert "autoscalerOptions" not in spec
    assert spec["gcsFaultToleranceOptions"] == {
        "redisAddress": REDIS["address"],
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "redis-password", "key": "password"}}},
    }
    names = [each["metadata"]["name"].rpartition("-")[2] for each in documents(files[name], "NetworkPolicy")]
    assert "redis" in names
    assert "api" not in names


def cluster_spec(text: str) -> dict[str, Any]:
    (ray,) = [each for each in documents(text) if each["kind"].startswith("Ray")]
    return ray["spec"].get("rayClusterSpec", ray["spec"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec.update(surprise=1),
        lambda spec: spec["headGroupSpec"].update(replicas=1),
        lambda spec: spec["workerGroupSpecs"][0].pop("groupName"),
        lambda spec: spec["workerGroupSpecs"][1].update(minReplicas="1"),
        lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0].update(resource={}),
        lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"][0].update(value=1),
        lambda spec: spec["authOptions"].update(mode="tokens"),
        lambda spec: spec["autoscalerOptions"]["volumeMounts"][0].pop("mountPath"),
    ],
)
def test_schemas_refuse_what_is_wrong(spoil: Callable[[dict[str, Any]], Any]) -> None:
    (ray,) = documents(golden("raycluster.yaml"), "RayCluster")
    spoil(ray["spec"])
    assert len(problems(ray)) == 1


def test_entrypoint_survives_every_shell_on_its_way() -> None:
    (job,) = documents(golden("rayjob.yaml"), "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert job["spec"]["entrypoint"] == " ".join(words), (
        "a word needs quotes, which some ways of submission lose"
    )
    assert words == [
        *("env", "--chdir=/opt/descant", "descant", "run", "/etc/descant/recipe.yaml"),
        *("--compute", "/etc/descant/compute.yaml", "--store", "/storage/results"),
    ]


def test_recipe_travels_byte_by_byte() -> None:
    (inputs,) = documents(golden("rayjob.yaml"), "ConfigMap")
    assert inputs["data"]["recipe.yaml"] == SMOKE.read_text()
    (job,) = documents(golden("rayjob.yaml"), "RayJob")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {"name": "inputs", "configMap": {"name": inputs["metadata"]["name"]}} in head["volumes"]


def test_operator_accepts_names_and_counts() -> None:
    """KubeRay's ``validation.go``: RFC 1035 names of 47 and 50 characters, and no time to live without a shutdown."""
    (job,) = documents(golden("rayjob.yaml"), "RayJob")
    name = job["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{2,62}", name)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 47
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["backoffLimit"] == 3
    for group in cluster_spec(golden("rayjob.yaml"))["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_only_the_autoscaler_can_read_a_token_of_the_kubernetes_api() -> None:
    for name in FILES:
        spec = cluster_spec(golden(name))
        templates = [spec["headGroupSpec"]["template"], *(g["template"] for g in spec["workerGroupSpecs"])]
        for template in templates:
            assert template["spec"]["automountServiceAccountToken"] is False
            for container in template["spec"]["containers"]:
                assert "service-account" not in [mount["name"] for mount in container["volumeMounts"]]
        mount = spec["autoscalerOptions"]["volumeMounts"][0]
        assert mount["name"] == "service-account"
        sources = {
            name: source
            for volume in spec["headGroupSpec"]["template"]["spec"]["volumes"]
            if volume["name"] == mount["name"]
            for each in volume["projected"]["sources"]
            for name, source in each.items()
        }
        # Where ray/autoscaler/_private/kuberay/node_provider.py looks for them.
        assert f"{mount['mountPath']}/{sources['serviceAccountToken']['path']}" == (
            "/var/run/secrets/kubernetes.io/serviceaccount/token"
        )
        assert sources["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_pods_reach_their_own_names_the_operator_and_nothing_else() -> None:
    policies = {
        each["metadata"]["name"].partition("-")[2]: each["spec"]
        for each in documents(golden("raycluster.yaml"), "NetworkPolicy")
    }
    assert set(policies) == {"deny-all", "own-pods", "names", "operator", "kubernetes-api"}
    own = policies["deny-all"]["podSelector"]
    assert policies["deny-all"] == {"podSelector": own, "policyTypes": ["Ingress", "Egress"]}
    assert policies["own-pods"]["ingress"] == [{"from": [{"podSelector": own}]}]
    assert policies["own-pods"]["egress"] == [{"to": [{"podSelector": own}]}]
    assert [port["port"] for port in policies["names"]["egress"][0]["ports"]] == [53, 53]
    assert [port["port"] for port in policies["operator"]["ingress"][0]["ports"]] == [8265]
    assert policies["operator"]["podSelector"]["matchLabels"]["ray.io/node-type"] == "head"
    assert policies["kubernetes-api"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    template = cluster_spec(golden("raycluster.yaml"))["headGroupSpec"]["template"]
    assert own["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_job_and_cluster_that_stays_cannot_reach_each_other() -> None:
    chosen = [
        documents(golden(name), "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"] for name in FILES
    ]
    assert chosen[0] != chosen[1]


def test_autoscaling_without_the_way_to_the_api_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kubernetes_api"):
        rendered_with("kuberay", tmp_path, kubernetes_api=None)
