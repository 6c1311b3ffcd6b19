"""Network policies of a Ray on Kubernetes: everything is denied, and each exception has a name.

Written as NetworkPolicies of Kubernetes, which any version of the operator leaves alone, rather than in the operator's
own ``networkPolicy`` field, which KubeRay 1.7 has behind a feature gate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from descant.run.clusters.render.spec import Destination, KubeRayCluster

NAME_LABEL, INSTANCE_LABEL, ROLE_LABEL = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "ray.io/node-type",
)
DASHBOARD = 8265


def pod_labels(instance: str) -> dict[str, str]:
    """What marks the pods of one cluster or job."""
    return {NAME_LABEL: "descant", INSTANCE_LABEL: instance}


def network_policies(cluster: KubeRayCluster, instance: str) -> list[dict[str, Any]]:
    """The policies for all pods of ``instance``: a cluster or a job."""
    pods = pod_labels(instance)
    head = pods | {ROLE_LABEL: "head"}
    own = [{"podSelector": {"matchLabels": pods}}]
    dns = [_pods_in("kube-system", {"k8s-app": "kube-dns"})]
    operator = [_pods_in(cluster.operator_namespace, {NAME_LABEL: "kuberay-operator"})]
    rules: list[tuple[str, Mapping[str, str], Mapping[str, Any]]] = [
        ("deny-all", pods, {"policyTypes": ["Ingress", "Egress"]}),
        (
            "own-pods",
            pods,
            {"policyTypes": ["Ingress", "Egress"], "ingress": [{"from": own}], "egress": [{"to": own}]},
        ),
        ("names", pods, _egress(dns, [_port(53, "UDP"), _port(53)])),
        (
            "operator",
            head,
            {"policyTypes": ["Ingress"], "ingress": [{"from": operator, "ports": [_port(DASHBOARD)]}]},
        ),
    ]
    if cluster.scales and cluster.kubernetes_api is not None:
        rules.append(("kubernetes-api", head, _egress_to(cluster.kubernetes_api)))
    if cluster.fault_tolerance is not None:
        rules.append(("redis", pods, _egress_to(cluster.fault_tolerance.reached)))
    return [_policy(cluster, f"{instance}-{name}", selected, spec) for name, selected, spec in rules]


def _policy(
    cluster: KubeRayCluster, name: str, selected: Mapping[str, str], spec: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"podSelector": {"matchLabels": selected}, **spec},
    }


def _pods_in(namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": labels},
    }


def _egress_to(destination: Destination) -> dict[str, Any]:
    return _egress([{"ipBlock": {"cidr": destination.cidr}}], [_port(destination.port)])


def _egress(to: Sequence[Mapping[str, Any]], ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"policyTypes": ["Egress"], "egress": [{"to": to, "ports": ports}]}


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}
