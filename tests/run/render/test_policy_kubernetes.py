"""Every rule for Kubernetes, broken at every place of the golden files: refused, by the name of that rule alone."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from descant.core.errors import PolicyError
from descant.run.clusters.render.policy import check, violations
from descant.run.clusters.render.policy_kubernetes import kubernetes_violations
from tests.golden.rendered import GOLDEN
from tests.run.render.clusters import documents

FILES = ("rayjob.yaml", "raycluster.yaml")
Change = Callable[[dict[str, Any]], Any]

POD: dict[str, tuple[str, Change]] = {
    "host-path": (
        "P-HOST-PATH",
        lambda pod: pod["volumes"].append({"name": "logs", "hostPath": {"path": "/var/log"}}),
    ),
    "host-network": ("P-PRIVILEGED", lambda pod: pod.update(hostNetwork=True)),
    "host-pid": ("P-PRIVILEGED", lambda pod: pod.update(hostPID=True)),
    "host-ipc": ("P-PRIVILEGED", lambda pod: pod.update(hostIPC=True)),
    "token-mounted": ("P-SERVICE-ACCOUNT", lambda pod: pod.update(automountServiceAccountToken=True)),
    "token-by-default": ("P-SERVICE-ACCOUNT", lambda pod: pod.pop("automountServiceAccountToken")),
    "no-size-limit": ("P-NO-LIMITS", lambda pod: pod["volumes"][1]["emptyDir"].pop("sizeLimit")),
    "empty-dir-of-defaults": ("P-NO-LIMITS", lambda pod: pod["volumes"][1].update(emptyDir=None)),
    "store-in-the-pod": (
        "P-NO-STORAGE",
        lambda pod: pod["volumes"].__setitem__(0, {"name": "storage", "emptyDir": {"sizeLimit": "1Gi"}}),
    ),
    "root-in-a-second-container": (
        "P-ROOT",
        lambda pod: pod["containers"].append(
            spoilt(pod["containers"][0], "securityContext", runAsUser=0, runAsNonRoot=False)
        ),
    ),
    "tag-in-an-init-container": (
        "P-NO-DIGEST",
        lambda pod: pod.update(initContainers=[{**pod["containers"][0], "image": "busybox:1.36"}]),
    ),
}
CONTAINER: dict[str, tuple[str, Change]] = {
    "latest": ("P-NO-DIGEST", lambda c: c.update(image="registry.example.com/descant:latest")),
    "tag": ("P-NO-DIGEST", lambda c: c.update(image="registry.example.com/descant:1.0")),
    "no-tag": ("P-NO-DIGEST", lambda c: c.update(image="registry.example.com/descant")),
    "short-digest": ("P-NO-DIGEST", lambda c: c.update(image="registry.example.com/descant@sha256:0123")),
    "password": ("P-SECRET-IN-ENV", lambda c: c["env"].append({"name": "MLFLOW_PASSWORD", "value": "x"})),
    "token-value": ("P-SECRET-IN-ENV", lambda c: c["env"].append({"name": "HF_TOKEN", "value": "x"})),
    "auth-off": ("P-NO-AUTH", lambda c: c["env"].append({"name": "RAY_AUTH_MODE", "value": "disabled"})),
    "host-port": ("P-NODEPORT", lambda c: c.update(ports=[{"containerPort": 8265, "hostPort": 8265}])),
}
SECURED: dict[str, tuple[str, Change]] = {
    "root-allowed": ("P-ROOT", lambda c: c["securityContext"].update(runAsNonRoot=False)),
    "root": ("P-ROOT", lambda c: c["securityContext"].update(runAsUser=0)),
    "privileged": ("P-PRIVILEGED", lambda c: c["securityContext"].update(privileged=True)),
    "escalation": ("P-PRIVILEGED", lambda c: c["securityContext"].update(allowPrivilegeEscalation=True)),
    "escalation-by-default": ("P-PRIVILEGED", lambda c: c["securityContext"].pop("allowPrivilegeEscalation")),
    "capabilities-kept": ("P-PRIVILEGED", lambda c: c["securityContext"].pop("capabilities")),
    "capability-added": (
        "P-PRIVILEGED",
        lambda c: c["securityContext"]["capabilities"].update(add=["SYS_PTRACE"]),
    ),
    "no-seccomp": (
        "P-PRIVILEGED",
        lambda c: c["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    ),
    "no-limits": ("P-NO-LIMITS", lambda c: c["resources"].pop("limits")),
    "no-memory-limit": ("P-NO-LIMITS", lambda c: c["resources"]["limits"].pop("memory")),
    "no-cpu-limit": ("P-NO-LIMITS", lambda c: c["resources"]["limits"].pop("cpu")),
}
CLUSTER: dict[str, tuple[str, Change]] = {
    "auth-disabled": ("P-NO-AUTH", lambda spec: spec["authOptions"].update(mode="disabled")),
    "auth-by-default": ("P-NO-AUTH", lambda spec: spec.pop("authOptions")),
    "ingress-made": ("P-DASHBOARD-PUBLIC", lambda spec: spec["headGroupSpec"].update(enableIngress=True)),
    "ingress-options": ("P-DASHBOARD-PUBLIC", lambda spec: spec["headGroupSpec"].update(ingressOptions={})),
    "node-port": ("P-NODEPORT", lambda spec: spec["headGroupSpec"].update(serviceType="NodePort")),
    "load-balancer": ("P-NODEPORT", lambda spec: spec["headGroupSpec"].update(serviceType="LoadBalancer")),
    "own-service": (
        "P-NODEPORT",
        lambda spec: spec["headGroupSpec"].update(headService={"spec": {"type": "LoadBalancer"}}),
    ),
    "redis-password": (
        "P-SECRET-IN-ENV",
        lambda spec: spec.update(gcsFaultToleranceOptions={"redisPassword": {"value": "x"}}),
    ),
}
POLICY: dict[str, tuple[str, str, Change]] = {
    "ingress-from-anywhere": ("own-pods", "P-INGRESS", lambda spec: spec["ingress"][0].pop("from")),
    "ingress-from-nobody-named": (
        "own-pods",
        "P-INGRESS",
        lambda spec: spec["ingress"][0].update({"from": []}),
    ),
    "ingress-from-all-addresses": (
        "operator",
        "P-INGRESS",
        lambda spec: spec["ingress"][0]["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}}),
    ),
    "ingress-from-all-pods": (
        "own-pods",
        "P-INGRESS",
        lambda spec: spec["ingress"][0].update({"from": [{"podSelector": {}}]}),
    ),
    "ingress-from-a-whole-namespace": (
        "operator",
        "P-INGRESS",
        lambda spec: spec["ingress"][0]["from"][0].pop("podSelector"),
    ),
    "egress-to-anywhere": ("own-pods", "P-EGRESS", lambda spec: spec["egress"][0].pop("to")),
    "egress-to-all-addresses": (
        "kubernetes-api",
        "P-EGRESS",
        lambda spec: spec["egress"][0]["to"][0]["ipBlock"].update(cidr="0.0.0.0/0"),
    ),
}
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "ingress": ("P-DASHBOARD-PUBLIC", {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {}}),
    "route": ("P-DASHBOARD-PUBLIC", {"apiVersion": "route.openshift.io/v1", "kind": "Route", "spec": {}}),
    "service": ("P-NODEPORT", {"apiVersion": "v1", "kind": "Service", "spec": {"type": "NodePort"}}),
    "secret": ("P-SECRET-IN-FILE", {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}}),
}


def spoilt(container: dict[str, Any], field: str, **changes: Any) -> dict[str, Any]:
    return {**container, field: container[field] | changes}


def spec_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    (ray,) = [each for each in found if each["kind"].startswith("Ray")]
    return ray["spec"].get("rayClusterSpec", ray["spec"])


def templates(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    groups = {group["groupName"]: group["template"] for group in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"]["template"], **groups}


def mutants() -> Iterator[Any]:
    """Each rule at each place: the rule, the spoilt documents."""
    for file in FILES:
        original = documents((GOLDEN / "kuberay" / file).read_text())
        for name, rule, change in changes():
            found = copy.deepcopy(original)
            change(found)
            yield pytest.param(rule, found, id=f"{file}-{name}")


def changes() -> Iterator[tuple[str, str, Callable[[list[dict[str, Any]]], Any]]]:
    """The name of each change, the rule that it breaks, and what makes it in the documents of a file."""
    for name, (rule, change) in CLUSTER.items():
        yield name, rule, lambda found, change=change: change(spec_of(found))
    for name, (rule, change) in SECURED.items():
        yield f"autoscaler-{name}", rule, lambda found, c=change: c(spec_of(found)["autoscalerOptions"])
    for place in ("head", "cpu", "gpu"):
        for name, (rule, change) in POD.items():
            yield f"{place}-{name}", rule, lambda found, c=change, p=place: c(pod_of(found, p)["spec"])
        for name, (rule, change) in {**CONTAINER, **SECURED}.items():
            yield (
                f"{place}-{name}",
                rule,
                lambda found, c=change, p=place: c(pod_of(found, p)["spec"]["containers"][0]),
            )
        yield (
            f"{place}-unlabelled",
            "P-NO-NETWORK-POLICY",
            lambda found, p=place: pod_of(found, p)["metadata"]["labels"].popitem(),
        )
    for name, (policy, rule, change) in POLICY.items():
        yield name, rule, lambda found, c=change, p=policy: c(policy_called(found, p))
    yield "no-policies", "P-NO-NETWORK-POLICY", drop_policies
    yield (
        "deny-ingress-only",
        "P-NO-NETWORK-POLICY",
        lambda found: policy_called(found, "deny-all").update(policyTypes=["Ingress"]),
    )
    yield (
        "deny-with-exceptions",
        "P-NO-NETWORK-POLICY",
        lambda found: policy_called(found, "deny-all").update(
            ingress=policy_called(found, "own-pods")["ingress"]
        ),
    )
    for name, (rule, document) in FURTHER.items():
        further = {**document, "metadata": {"name": "further"}}
        yield name, rule, lambda found, further=further: found.append(further)


def pod_of(found: list[dict[str, Any]], place: str) -> dict[str, Any]:
    return templates(spec_of(found))[place]


def policy_called(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (policy,) = [
        each["spec"]
        for each in found
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"].endswith(f"-{name}")
    ]
    return policy


def drop_policies(found: list[dict[str, Any]]) -> None:
    found[:] = [each for each in found if each["kind"] != "NetworkPolicy"]


@pytest.mark.parametrize("file", FILES)
def test_golden_files_break_no_rule(file: str) -> None:
    assert violations({file: (GOLDEN / "kuberay" / file).read_text()}) == []


@pytest.mark.parametrize(("rule", "spoilt_documents"), mutants())
def test_mutant_is_refused_by_its_rule_alone(rule: str, spoilt_documents: list[dict[str, Any]]) -> None:
    assert {each.rule for each in kubernetes_violations(spoilt_documents)} == {rule}


def test_refusal_names_rule_place_and_finding_and_ends_with_6() -> None:
    text = (GOLDEN / "kuberay" / "rayjob.yaml").read_text().replace("mode: token", "mode: disabled")
    with pytest.raises(PolicyError) as raised:
        check({"rayjob.yaml": text})
    message = str(raised.value)
    assert raised.value.exit_code == 6
    assert "P-NO-AUTH rayjob.yaml: RayJob smoke-" in message
    assert "Nothing was written" in message


def test_submitter_of_a_job_is_looked_at_too() -> None:
    found = documents((GOLDEN / "kuberay" / "rayjob.yaml").read_text())
    (job,) = [each for each in found if each["kind"] == "RayJob"]
    job["spec"]["submitterPodTemplate"] = copy.deepcopy(templates(spec_of(found))["cpu"])
    assert violations({"rayjob.yaml": yaml.safe_dump_all(found)}) == []
    job["spec"]["submitterPodTemplate"]["spec"]["containers"][0]["image"] = "ray:latest"
    assert {each.rule for each in violations({"rayjob.yaml": yaml.safe_dump_all(found)})} == {"P-NO-DIGEST"}
