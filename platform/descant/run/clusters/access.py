"""How a cluster is reached: the one of this machine, or one that a ``cluster.yaml`` describes."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from descant.core.errors import ConfigError, DependencyError
from descant.core.spec import Compute, load_spec
from descant.run.clusters.api import ClusterApi
from descant.run.profile import Profile, load_profile

CLUSTERS = Path("clusters")
SPEC, PROFILE = "cluster.yaml", "compute.yaml"


class Access(Compute):
    """Where a running cluster answers, and what stands where on it."""

    url: str = Field(pattern=r"^https?://[^\s/@]+/?$")
    """Of its dashboard and Jobs API, without a password. Plain http only on the loopback address, where a tunnel such
    as ``kubectl port-forward`` or ``ssh -L`` ends."""
    token_file: Path
    """File with the cluster's token, mode 0600; ``~`` is the user's home."""
    store: Path
    """Where results live, on a disk that all of its nodes share."""
    data: Path | None = None
    """What DESCANT_DATA is on its nodes."""
    python: str = "python"
    """The interpreter on its head that has descant's requirements."""

    @field_validator("store", "data")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError(f"is '{path}', expected an absolute path on the cluster's nodes")
        return path

    @model_validator(mode="after")
    def _token_is_not_sent_in_the_clear(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise ValueError(
                f"url {self.url} would send the token in the clear: expected https, or a tunnel that ends on 127.0.0.1"
            )
        return self


@dataclass(frozen=True)
class Cluster:
    """A cluster that jobs can be submitted to."""

    name: str
    api: ClusterApi
    store: Path | None
    """None: where the client's results live, on the same machine."""
    data: Path | None
    """None: as its processes have it."""
    python: str
    profile: Path | None
    """The compute profile beside its description."""

    def compute(self, path: Path | None) -> Profile:
        """The profile at ``path``, else the cluster's own, else the defaults."""
        return load_profile(path or self.profile)


def reach(name: str) -> Cluster:
    """The cluster ``name``: ``local``, a folder of ``clusters`` with a ``cluster.yaml``, or the path of one.

    Raises ConfigError where nothing describes it, DependencyError where the local one is not up. Whether another one
    is up is seen when it is asked.
    """
    folder = CLUSTERS / name
    if name == "local":
        return _local(folder)
    folder = next((found for found in (folder, Path(name)) if (found / SPEC).is_file()), folder)
    if not (folder / SPEC).is_file():
        raise ConfigError(
            "E-CLU-NAME",
            name,
            f"there is no {folder / SPEC}",
            "Nothing was sent. Write one (see clusters/README.md), or use: --cluster local",
        )
    access = load_spec(Access, folder / SPEC)
    api = ClusterApi(access.url.rstrip("/"), access.token_file.expanduser())
    return Cluster(name, api, access.store, access.data, access.python, _profile(folder))


def _local(folder: Path) -> Cluster:
    from descant.run.clusters.local import find

    found = find()
    if found is None:
        raise DependencyError(
            "E-CLU-DOWN", "cluster local", "is not up", "Start it with: descant cluster up local"
        )
    return Cluster("local", found.api, None, None, sys.executable, _profile(folder))


def _profile(folder: Path) -> Path | None:
    path = (folder / PROFILE).absolute()
    return path if path.is_file() else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
