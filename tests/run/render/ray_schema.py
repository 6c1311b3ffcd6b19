"""A JSON schema of KubeRay's ``ray.io/v1`` RayCluster and RayJob.

Field names and types are those of ``raycluster_types.go`` and ``rayjob_types.go`` in ``ray-operator/apis/ray/v1`` of
ray-project/kuberay, version 1.7 (Apache-2.0), written down here by hand: all fields of what we write, and not
``status``, ``historyServerOptions``, ``networkPolicy``, ``tlsOptions``, ``deletionStrategy``, ``headService`` and
``ingressOptions``, which we do not write. Unknown fields are refused. Pod templates are Kubernetes' own schema of 1.37,
from the package kubernetes-validate. What the operator checks beyond types is asserted by hand in
``test_rendered_kubernetes``.
"""

import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
CORE = "io.k8s.api.core.v1."


def fields(required: str = "", **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def kubernetes(name: str) -> Schema:
    return {"$ref": f"/api/_definitions.json#/$defs/{name}"}


def several(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


CREDENTIAL = fields(value=TEXT, valueFrom=kubernetes(f"{CORE}EnvVarSource"))
CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    suspend=FLAG,
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    upgradeStrategy=fields(type=one_of("Recreate", "None")),
    authOptions=fields(mode=one_of("disabled", "token"), secretName=TEXT, enableK8sTokenAuth=FLAG),
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(
        resources=kubernetes(f"{CORE}ResourceRequirements"),
        image=TEXT,
        imagePullPolicy=TEXT,
        securityContext=kubernetes(f"{CORE}SecurityContext"),
        idleTimeoutSeconds=WHOLE,
        upscalingMode=one_of("Default", "Aggressive", "Conservative"),
        version=one_of("v1", "v2"),
        env=several(kubernetes(f"{CORE}EnvVar")),
        envFrom=several(kubernetes(f"{CORE}EnvFromSource")),
        volumeMounts=several(kubernetes(f"{CORE}VolumeMount")),
        command=several(TEXT),
        args=several(TEXT),
    ),
    gcsFaultToleranceOptions=fields(
        backend=one_of("redis", "rocksdb"),
        redisUsername=CREDENTIAL,
        redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
        redisAddress=TEXT,
    ),
    headGroupSpec=fields(
        "template",
        template=kubernetes(f"{CORE}PodTemplateSpec"),
        enableIngress=FLAG,
        resources=TEXTS,
        labels=TEXTS,
        rayStartParams=TEXTS,
        serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    ),
    workerGroupSpecs=several(
        fields(
            "groupName minReplicas maxReplicas template",
            groupName=TEXT,
            suspend=FLAG,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            idleTimeoutSeconds=WHOLE,
            priority=WHOLE,
            resources=TEXTS,
            labels=TEXTS,
            rayStartParams=TEXTS,
            template=kubernetes(f"{CORE}PodTemplateSpec"),
            scaleStrategy=fields(workersToDelete=several(TEXT)),
            numOfHosts=POSITIVE,
        )
    ),
)
JOB = fields(
    activeDeadlineSeconds=POSITIVE,
    preRunningDeadlineSeconds=POSITIVE,
    backoffLimit=WHOLE,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=kubernetes(f"{CORE}PodTemplateSpec"),
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=fields(backoffLimit=WHOLE),
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=WHOLE,
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)


def problems(document: dict[str, Any]) -> list[str]:
    """What the schema of the document's kind finds; nothing where it is valid. Unknown kinds are a problem."""
    ours = {"RayCluster": CLUSTER, "RayJob": JOB}
    theirs = {
        "ConfigMap": f"{CORE}ConfigMap",
        "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    }
    kind = document.get("kind", "")
    if kind in ours:
        schema = fields(
            "apiVersion kind metadata spec",
            apiVersion=one_of("ray.io/v1"),
            kind=one_of(kind),
            metadata=kubernetes("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            spec=ours[kind],
        )
    elif kind in theirs:
        schema = kubernetes(theirs[kind])
    else:
        return [f"no schema of {kind}"]
    validator = Draft202012Validator(schema, registry=_registry())
    return [
        f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(document)
    ]


def _registry() -> Registry[Any]:
    if not _LOADED:
        folder = files("kubernetes_validate") / "kubernetes-json-schema" / "v1.37.0-local-strict"
        definitions = json.loads((folder / "_definitions.json").read_text("utf-8"))
        definitions.setdefault("$schema", "https://json-schema.org/draft/2020-12/schema")
        _LOADED.append(
            Registry().with_resource("/api/_definitions.json", Resource.from_contents(definitions))
        )
    return _LOADED[0]


_LOADED: list[Registry[Any]] = []
