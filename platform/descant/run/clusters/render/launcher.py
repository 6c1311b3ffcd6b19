"""A Ray on machines of a cloud: YAML for Ray's cluster launcher, and a script that starts it and runs the recipe.

Fields are those of ``ray/autoscaler/ray-schema.json``; a ``node_config`` is the cloud's own request for a machine. All
machines stand in a private subnet. Ray runs in a container; the token comes from ``~/.ray/auth_token``, where ``ray``
looks for it on your machine too.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Any

from descant.run.clusters.render.spec import AwsCluster, GcpCluster, Machine
from descant.run.clusters.render.work import PROFILE, RECIPE, Work, environment
from descant.run.clusters.render.yaml_text import yaml_text

CODE = PurePosixPath("/opt/descant")
STORAGE = PurePosixPath("/mnt/descant")
INPUTS = "~/inputs"
TOKEN = "~/.ray/auth_token"
USER = "ubuntu"
START = "export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0; ray start"
HEAD = """\
{verb} of {name}. Start it and run the recipe with: ./run.sh
Rendered by descant cluster render; change the folder's own cluster.yaml and render again."""
RUN = """\
#!/bin/bash
# {verb} of {name}: starts the cluster, runs the recipe, and ends the cluster if all went well.
# After anything else the cluster stays: the same script goes on, and "ray down cluster.yaml" ends it.
set -euo pipefail
umask 077
cd -- "$(dirname -- "$0")"
export RAY_AUTH_MODE=token
mkdir -p ~/.ray
[[ -s ~/.ray/auth_token ]] || ray get-auth-token --generate >/dev/null
chmod 600 ~/.ray/auth_token
ray up --yes --no-config-cache cluster.yaml
ray exec cluster.yaml {command}
ray down --yes cluster.yaml
"""

Document = dict[str, Any]


def launcher_files(cluster: AwsCluster | GcpCluster, work: Work) -> dict[str, str]:
    """``cluster.yaml`` for ``ray up``, ``run.sh``, and recipe and profile beside them."""
    variables = {"RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "token", **environment(STORAGE)}
    words = ["env", f"--chdir={CODE}", *(f"{name}={value}" for name, value in variables.items())]
    command = " ".join([shlex.join(words), *map(_word, work.command(INPUTS, STORAGE))])
    names = {"verb": work.verb, "name": work.name}
    return {
        "cluster.yaml": yaml_text(HEAD.format(**names), [_cluster(cluster)]),
        "run.sh": RUN.format(**names, command=shlex.quote(command)),
        RECIPE: work.recipe,
        PROFILE: work.profile,
    }


def _word(word: str) -> str:
    """Quoted, but for the home folder that a word may begin with."""
    return "~/" + shlex.quote(word[2:]) if word.startswith("~/") else shlex.quote(word)


def _cluster(cluster: AwsCluster | GcpCluster) -> Document:
    return {
        "cluster_name": cluster.name,
        "max_workers": cluster.most,
        "idle_timeout_minutes": cluster.idle_minutes,
        "provider": _provider(cluster),
        "auth": {"ssh_user": USER},
        "docker": {
            "image": cluster.image,
            "container_name": "descant",
            "pull_before_run": True,
            "run_options": [
                "--cap-drop=ALL",
                "--security-opt=no-new-privileges",
                "--ulimit=nofile=65536:65536",
                f"--volume={STORAGE}:{STORAGE}",
            ],
        },
        "head_node_type": "head",
        "available_node_types": {
            "head": {
                "resources": {"CPU": 0},
                "node_config": _node(cluster, cluster.head, False),
            },
            "worker": {
                "resources": {"CPU": cluster.worker.cpus, "GPU": cluster.worker.gpus},
                "min_workers": cluster.least,
                "max_workers": cluster.most,
                "node_config": _node(cluster, cluster.worker, True),
            },
        },
        "file_mounts": {
            TOKEN: TOKEN,
            f"{INPUTS}/{RECIPE}": f"./{RECIPE}",
            f"{INPUTS}/{PROFILE}": f"./{PROFILE}",
        },
        "cluster_synced_files": [],
        "initialization_commands": [
            f"sudo mkdir -p {STORAGE}",
            f"mountpoint -q {STORAGE} || sudo mount -t nfs4 -o hard,nodev,nosuid {cluster.nfs} {STORAGE}",
        ],
        "setup_commands": [f"chmod 600 {TOKEN}"],
        "head_start_ray_commands": [
            "ray stop",
            f"{START} --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{START} --address=$RAY_HEAD_IP:6379"],
    }


def _provider(cluster: AwsCluster | GcpCluster) -> Document:
    place = {"region": cluster.region, "availability_zone": cluster.zone, "use_internal_ips": True}
    if isinstance(cluster, AwsCluster):
        return {"type": "aws", **place, "cache_stopped_nodes": False}
    return {"type": "gcp", **place, "project_id": cluster.project}


def _node(cluster: AwsCluster | GcpCluster, machine: Machine, spot: bool) -> Document:
    return (
        _aws_node(cluster, machine, spot)
        if isinstance(cluster, AwsCluster)
        else _gcp_node(cluster, machine, spot)
    )


def _aws_node(cluster: AwsCluster, machine: Machine, spot: bool) -> Document:
    """The fields of EC2's RunInstances."""
    disk = {"VolumeSize": cluster.disk_gigabytes, "VolumeType": "gp3", "Encrypted": True}
    config: Document = {
        "InstanceType": machine.type,
        "ImageId": cluster.machine_image,
        "SubnetIds": [cluster.subnet],
        "SecurityGroupIds": [cluster.security_group],
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
    }
    return config | ({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {})


def _gcp_node(cluster: GcpCluster, machine: Machine, spot: bool) -> Document:
    """The fields of Compute Engine's ``instances.insert``; without ``accessConfigs`` there is no public address."""
    disk = {"diskSizeGb": cluster.disk_gigabytes, "sourceImage": cluster.machine_image}
    config: Document = {
        "machineType": machine.type,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
        "networkInterfaces": [
            {"kind": "compute#networkInterface", "subnetwork": cluster.subnet, "aliasIpRanges": []}
        ],
        "shieldedInstanceConfig": {"enableVtpm": True, "enableIntegrityMonitoring": True},
    }
    if spot or machine.gpus:  # neither can be moved to another host
        config["scheduling"] = {
            "preemptible": spot,
            "automaticRestart": False,
            "onHostMaintenance": "TERMINATE",
        }
    return config
