"""Rules for the YAML of Ray's cluster launcher."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from descant.run.clusters.render.violation import ASSIGNED_SECRET, BY_DIGEST, Violation

SHARED = "/mnt/"
"""Where machines may mount what containers see."""
_STARTS = re.compile(r"\bray start\b")
_ASKS_FOR_TOKEN = re.compile(r"\bRAY_AUTH_MODE=token\b.*\bray start\b")
_DASHBOARD = re.compile(r"--dashboard-host[= ](\S+)")
_VOLUME = re.compile(r"(?:-v|--volume|--mount)[= ](?:type=bind,(?:src|source)=)?([^:,\s]+)")
_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def launcher_violations(document: Mapping[str, Any]) -> list[Violation]:
    """Rules that one ``cluster.yaml`` of ``ray up`` breaks."""
    return [
        *_network(document),
        *_commands(document),
        *_docker(document.get("docker") or {}),
        *_bounds(document),
    ]


def _network(document: Mapping[str, Any]) -> Iterator[Violation]:
    provider = document.get("provider", {})
    if provider.get("use_internal_ips") is not True:
        yield Violation(
            "P-PUBLIC-ADDRESS", "provider", "use_internal_ips is not true: machines get public addresses"
        )
    if "security_group" in provider:
        yield Violation(
            "P-INGRESS", "provider.security_group", "Ray's own group lets the whole world at port 22"
        )
    if "gcp_credentials" in provider:
        yield Violation("P-SECRET-IN-FILE", "provider.gcp_credentials", "credentials belong into your login")
    for name, node_type in document.get("available_node_types", {}).items():
        where, config = f"node type {name}", node_type.get("node_config", {})
        if provider.get("type") == "aws" and not config.get("SecurityGroupIds"):
            yield Violation(
                "P-INGRESS", where, "without SecurityGroupIds Ray lets the whole world at port 22"
            )
        interfaces = [*config.get("networkInterfaces", []), *config.get("NetworkInterfaces", [])]
        if provider.get("type") == "gcp" and not interfaces:
            yield Violation(
                "P-PUBLIC-ADDRESS", where, "without networkInterfaces Ray asks for public addresses"
            )
        for interface in interfaces:
            if interface.get("accessConfigs") or interface.get("AssociatePublicIpAddress"):
                yield Violation("P-PUBLIC-ADDRESS", where, "an interface with a public address")


def _commands(document: Mapping[str, Any]) -> Iterator[Violation]:
    for section in _COMMANDS:
        for command in document.get(section, []):
            if ASSIGNED_SECRET.search(command):
                yield Violation("P-SECRET-IN-ENV", section, "a secret's value stands in a command")
            if not _STARTS.search(command):
                continue
            if not _ASKS_FOR_TOKEN.search(command):
                yield Violation("P-NO-AUTH", section, "Ray starts without RAY_AUTH_MODE=token")
            hosts = _DASHBOARD.findall(command)
            if hosts != (["127.0.0.1"] if section.startswith("head") else []):
                yield Violation(
                    "P-DASHBOARD-PUBLIC",
                    section,
                    f"--dashboard-host {hosts}, expected 127.0.0.1; use ray dashboard",
                )
    if not any(_STARTS.search(command) for command in document.get("head_start_ray_commands", [])):
        yield Violation("P-NO-AUTH", "head_start_ray_commands", "Ray's defaults start it without a token")


def _docker(docker: Mapping[str, Any]) -> Iterator[Violation]:
    images = [docker.get(key) for key in ("image", "head_image", "worker_image") if key in docker]
    for image in images or ["none"]:
        if not BY_DIGEST.fullmatch(str(image)):
            yield Violation("P-NO-DIGEST", "docker", f"image {image}, expected NAME@sha256:DIGEST")
    options = [option for key in docker if key.endswith("run_options") for option in docker[key]]
    for option in options:
        if re.match(r"--(privileged|cap-add|device|pid|ipc|userns)\b", option) or "unconfined" in option:
            yield Violation("P-PRIVILEGED", "docker.run_options", option)
        if re.match(r"(-u|--user)[= ](root|0)\b", option):
            yield Violation("P-ROOT", "docker.run_options", option)
        if ASSIGNED_SECRET.search(option):
            yield Violation("P-SECRET-IN-ENV", "docker.run_options", "a secret's value stands in an option")
        for source in _VOLUME.findall(option):
            if not source.startswith(SHARED) or ".." in source:
                yield Violation(
                    "P-HOST-PATH", "docker.run_options", f"{source}, expected a mount in {SHARED}"
                )
    if "--cap-drop=ALL" not in options or "--security-opt=no-new-privileges" not in options:
        yield Violation("P-PRIVILEGED", "docker.run_options", "expected --cap-drop=ALL and no-new-privileges")


def _bounds(document: Mapping[str, Any]) -> Iterator[Violation]:
    for key in ("max_workers", "idle_timeout_minutes"):
        if not document.get(key):
            yield Violation("P-NO-LIMITS", key, "not set: machines could pile up or stay for ever")
