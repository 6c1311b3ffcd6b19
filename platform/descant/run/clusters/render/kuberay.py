"""A Ray on Kubernetes: a RayJob for one recipe, and a RayCluster that stays, each with its network policies.

Fields are those of KubeRay's ``ray.io/v1``. Jobs are submitted in HTTPMode: the operator sends the entrypoint to Ray as
it is. Under K8sJobMode a further pod would pass it through a shell and through ``ray job submit``, which quotes for
Windows, before Ray's own shell reads it.
"""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

from descant.run.clusters.render.network import DASHBOARD, network_policies, pod_labels
from descant.run.clusters.render.spec import KubeRayCluster, Pod, WorkerGroup
from descant.run.clusters.render.work import PROFILE, RECIPE, Work, environment
from descant.run.clusters.render.yaml_text import yaml_text

CODE = PurePosixPath("/opt/descant")
"""Where images of clusters/image keep the checkout's jobs."""
STORAGE = PurePosixPath("/storage")
INPUTS = PurePosixPath("/etc/descant")
USER = 1000
"""The user of images of clusters/image."""
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where clients look for the pod's token. It is given to the autoscaler alone, not to what runs the job's code."""
IDLE_SECONDS = 300
JOB_HEAD = """\
{verb} of {recipe_name} on Kubernetes. Apply with: kubectl apply -f rayjob.yaml
Rendered by descant cluster render; change cluster.yaml and render again."""
CLUSTER_HEAD = """\
A Ray that stays. Apply with: kubectl apply -f raycluster.yaml
Rendered by descant cluster render; change cluster.yaml and render again."""

Document = dict[str, Any]


def kuberay_files(cluster: KubeRayCluster, work: Work) -> dict[str, str]:
    """``rayjob.yaml`` and ``raycluster.yaml``, each to be applied alone."""
    job = [*network_policies(cluster, work.name), _inputs(cluster, work), _ray_job(cluster, work)]
    stays = [*network_policies(cluster, cluster.name), _ray_cluster(cluster)]
    return {
        "rayjob.yaml": yaml_text(JOB_HEAD.format(verb=work.verb, recipe_name=work.name), job),
        "raycluster.yaml": yaml_text(CLUSTER_HEAD, stays),
    }


def _inputs(cluster: KubeRayCluster, work: Work) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": work.name, "namespace": cluster.namespace},
        "immutable": True,
        "data": {RECIPE: work.recipe, PROFILE: work.profile},
    }


def _ray_job(cluster: KubeRayCluster, work: Work) -> Document:
    command = ["env", f"--chdir={CODE}", *work.command(str(INPUTS), STORAGE)]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": work.name, "namespace": cluster.namespace},
        "spec": {
            "entrypoint": shlex.join(command),
            "submissionMode": "HTTPMode",
            "backoffLimit": cluster.retries,
            "activeDeadlineSeconds": 3600 * cluster.deadline_hours,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60 * cluster.kept_minutes,
            "rayClusterSpec": _spec(cluster, work.name, inputs=work.name),
        },
    }


def _ray_cluster(cluster: KubeRayCluster) -> Document:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": cluster.name, "namespace": cluster.namespace},
        "spec": _spec(cluster, cluster.name, inputs=None),
    }


def _spec(cluster: KubeRayCluster, instance: str, inputs: str | None) -> Document:
    """A RayClusterSpec; ``inputs`` names the ConfigMap that the head reads."""
    spec: Document = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": cluster.scales,
    }
    if cluster.scales:
        spec["autoscalerOptions"] = {
            "idleTimeoutSeconds": IDLE_SECONDS,
            "resources": _resources(1, 1, 0),
            "securityContext": _container_security(),
            "volumeMounts": [{"name": "service-account", "mountPath": SERVICE_ACCOUNT, "readOnly": True}],
        }
    if cluster.fault_tolerance is not None:
        secret = {"name": cluster.fault_tolerance.secret, "key": cluster.fault_tolerance.key}
        spec["gcsFaultToleranceOptions"] = {
            "redisAddress": cluster.fault_tolerance.address,
            "redisPassword": {"valueFrom": {"secretKeyRef": secret}},
        }
    return spec | {
        "headGroupSpec": _head(cluster, instance, inputs),
        "workerGroupSpecs": [_group(cluster, instance, group) for group in cluster.workers],
    }


def _head(cluster: KubeRayCluster, instance: str, inputs: str | None) -> Document:
    template = _template(cluster, instance, "ray-head", cluster.head, 0)
    container, volumes = template["spec"]["containers"][0], template["spec"]["volumes"]
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": DASHBOARD},
    ]
    if inputs is not None:
        container["volumeMounts"].append({"name": "inputs", "mountPath": str(INPUTS), "readOnly": True})
        volumes.append({"name": "inputs", "configMap": {"name": inputs}})
    if cluster.scales:
        volumes.append(_service_account())
    return {
        "serviceType": "ClusterIP",
        "rayStartParams": {"num-cpus": "0", **_start(cluster.head)},
        "template": template,
    }


def _group(cluster: KubeRayCluster, instance: str, group: WorkerGroup) -> Document:
    return {
        "groupName": group.name,
        "replicas": group.least,
        "minReplicas": group.least,
        "maxReplicas": group.most,
        "rayStartParams": _start(group),
        "template": _template(cluster, instance, "ray-worker", group, group.gpus),
    }


def _start(pod: Pod) -> dict[str, str]:
    return {"object-store-memory": str((pod.shared_memory_gigabytes << 30) * 4 // 5)}


def _template(cluster: KubeRayCluster, instance: str, name: str, pod: Pod, gpus: int) -> Document:
    variables = [{"name": key, "value": value} for key, value in environment(STORAGE).items()]
    container = {
        "name": name,
        "image": cluster.image,
        "env": variables,
        "resources": _resources(pod.cpus, pod.memory_gigabytes, gpus),
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "storage", "mountPath": str(STORAGE)},
            {"name": "shared-mem", "mountPath": "/dev/shm"},
        ],
    }
    spec: Document = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "storage", "persistentVolumeClaim": {"claimName": cluster.claim}},
            {
                "name": "shared-mem",
                "emptyDir": {"medium": "Memory", "sizeLimit": f"{pod.shared_memory_gigabytes}Gi"},
            },
        ],
    }
    if gpus:
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {"metadata": {"labels": pod_labels(instance)}, "spec": spec}


def _container_security() -> Document:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources(cpus: int, memory_gigabytes: int, gpus: int) -> Document:
    each: Document = {"cpu": str(cpus), "memory": f"{memory_gigabytes}Gi"}
    if gpus:
        each["nvidia.com/gpu"] = str(gpus)
    return {"requests": each, "limits": dict(each)}


def _service_account() -> Document:
    """What Kubernetes would mount into every container of the pod, as a volume that only the autoscaler mounts."""
    return {
        "name": "service-account",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                    }
                },
            ]
        },
    }
