"""Rules for what is applied to Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from descant.core.spec import SECRET_KEY
from descant.run.clusters.render.violation import BY_DIGEST, Violation

KINDS = ("ConfigMap", "NetworkPolicy", "RayCluster", "RayJob")
EVERYWHERE = ("0.0.0.0/0", "::/0")

Document = Mapping[str, Any]


def kubernetes_violations(documents: Sequence[Document]) -> list[Violation]:
    """Rules that the ``documents`` of one file break; its network policies must cover its pods."""
    return list(_all(documents))


def _all(documents: Sequence[Document]) -> Iterator[Violation]:
    policies = [document for document in documents if document.get("kind") == "NetworkPolicy"]
    for document in documents:
        kind, name = str(document.get("kind")), str(document.get("metadata", {}).get("name"))
        where = f"{kind} {name}"
        if kind in ("RayCluster", "RayJob"):
            yield from _ray(document["spec"], where, policies)
        elif kind == "NetworkPolicy":
            yield from _policy(document["spec"], where)
        elif kind == "Secret":
            yield Violation("P-SECRET-IN-FILE", where, "a Secret is made where it is kept, not in a file")
        elif kind not in KINDS:
            rule = "P-NODEPORT" if kind == "Service" else "P-DASHBOARD-PUBLIC"
            yield Violation(rule, where, f"only {', '.join(KINDS)} are expected: others can open a way in")


def _ray(spec: Document, where: str, policies: Sequence[Document]) -> Iterator[Violation]:
    cluster = spec.get("rayClusterSpec", spec)
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield Violation(
            "P-NO-AUTH", where, "authOptions.mode is not token: whoever reaches Ray runs code there"
        )
    head = cluster.get("headGroupSpec", {})
    if head.get("enableIngress") or "ingressOptions" in head:
        yield Violation(
            "P-DASHBOARD-PUBLIC", where, "the dashboard gets an Ingress; use kubectl port-forward"
        )
    service = head.get("headService", {}).get("spec", {})
    for found in (head.get("serviceType", "ClusterIP"), service.get("type", "ClusterIP")):
        if found != "ClusterIP":
            yield Violation("P-NODEPORT", where, f"the head's service is a {found}, expected ClusterIP")
    redis = cluster.get("gcsFaultToleranceOptions", {})
    for credential in ("redisPassword", "redisUsername"):
        if "value" in redis.get(credential, {}):
            yield Violation(
                "P-SECRET-IN-ENV", where, f"{credential} is a value, expected valueFrom.secretKeyRef"
            )
    if cluster.get("enableInTreeAutoscaling"):
        yield from _container(
            {"image": "", **cluster.get("autoscalerOptions", {})}, f"{where} autoscaler", {}
        )
    templates = {"head": head.get("template", {})}
    templates |= {
        group["groupName"]: group.get("template", {}) for group in cluster.get("workerGroupSpecs", [])
    }
    if "submitterPodTemplate" in spec:
        templates["submitter"] = spec["submitterPodTemplate"]
    for name, template in templates.items():
        yield from _pod(template, f"{where} {name}", policies)


def _pod(template: Document, where: str, policies: Sequence[Document]) -> Iterator[Violation]:
    labels, pod = template.get("metadata", {}).get("labels", {}), template.get("spec", {})
    covered = {direction for policy in policies for direction in _denied(policy["spec"], labels)}
    for direction in sorted({"Ingress", "Egress"} - covered):
        yield Violation(
            "P-NO-NETWORK-POLICY", where, f"no NetworkPolicy of the file denies its {direction} first"
        )
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield Violation("P-PRIVILEGED", where, f"{field} is true")
    if pod.get("automountServiceAccountToken") is not False:
        yield Violation("P-SERVICE-ACCOUNT", where, "its code can read a token of the Kubernetes API")
    volumes = pod.get("volumes", [])
    for volume in volumes:
        if "hostPath" in volume:
            yield Violation("P-HOST-PATH", where, f"volume {volume.get('name')} is a folder of the node")
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield Violation("P-NO-LIMITS", where, f"volume {volume.get('name')} has no sizeLimit")
    if not any("persistentVolumeClaim" in volume for volume in volumes):
        yield Violation("P-NO-STORAGE", where, "results would be lost with the pod: no persistentVolumeClaim")
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        inside = f"{where} {container.get('name')}"
        if not BY_DIGEST.fullmatch(str(container.get("image"))):
            yield Violation(
                "P-NO-DIGEST", inside, f"image {container.get('image')}, expected NAME@sha256:DIGEST"
            )
        yield from _container(container, inside, pod.get("securityContext", {}))


def _denied(policy: Document, labels: Document) -> Sequence[str]:
    """The directions in which ``policy`` denies, with no exception, what pods with ``labels`` do."""
    selector = policy.get("podSelector", {})
    if "matchExpressions" in selector or "ingress" in policy or "egress" in policy:
        return ()
    selects = selector.get("matchLabels", {}).items() <= labels.items()
    return policy.get("policyTypes", ()) if selects else ()


def _container(container: Document, where: str, pod_security: Document) -> Iterator[Violation]:
    own = container.get("securityContext", {})
    security = {**pod_security, **own}
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield Violation("P-ROOT", where, "may run as root: expected runAsNonRoot and no runAsUser 0")
    capabilities = own.get("capabilities", {})
    dropped, added = capabilities.get("drop", []), capabilities.get("add", [])
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield Violation("P-PRIVILEGED", where, "may gain privileges: expected allowPrivilegeEscalation false")
    if "ALL" not in dropped or added:
        yield Violation(
            "P-PRIVILEGED", where, f"capabilities drop {dropped}, add {added}, expected drop ['ALL']"
        )
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield Violation("P-PRIVILEGED", where, "seccompProfile is not RuntimeDefault")
    limits = container.get("resources", {}).get("limits", {})
    if missing := {"cpu", "memory"} - limits.keys():
        yield Violation("P-NO-LIMITS", where, f"no limit of {', '.join(sorted(missing))}")
    for port in container.get("ports", []):
        if "hostPort" in port:
            yield Violation("P-NODEPORT", where, f"port {port['hostPort']} of the node")
    for variable in container.get("env", []):
        name = str(variable.get("name"))
        if "value" in variable and SECRET_KEY.search(name):
            yield Violation("P-SECRET-IN-ENV", where, f"{name} is a value, expected valueFrom.secretKeyRef")
        if name == "RAY_AUTH_MODE":
            yield Violation("P-NO-AUTH", where, "RAY_AUTH_MODE overrides what the operator sets")


def _policy(spec: Document, where: str) -> Iterator[Violation]:
    for direction, side, rule in (("ingress", "from", "P-INGRESS"), ("egress", "to", "P-EGRESS")):
        for exception in spec.get(direction, []):
            peers = exception.get(side)
            if not peers:
                yield Violation(rule, where, f"{direction} {side} anywhere")
            for peer in peers or []:
                block = peer.get("ipBlock", {}).get("cidr")
                if block in EVERYWHERE or (block is None and not _selects_some(peer)):
                    yield Violation(rule, where, f"{direction} {side} {block or 'all pods'}")


def _selects_some(peer: Document) -> bool:
    """Whether ``peer`` names pods by a label: a namespace alone, or an empty selector, is everybody in it."""
    selector = peer.get("podSelector") or {}
    return bool(selector.get("matchLabels") or selector.get("matchExpressions"))
