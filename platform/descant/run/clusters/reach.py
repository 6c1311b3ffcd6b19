"""The cluster that a command names: the one of this machine, or one that a ``cluster.yaml`` describes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from descant.core.errors import ConfigError, DependencyError
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.names import LOCAL
from descant.run.clusters.render.spec import find_folder, load_cluster
from descant.run.job import Recipe, load_recipe
from descant.run.profile import Profile, load_profile

PROFILE = "compute.yaml"


@dataclass(frozen=True)
class Cluster:
    """A cluster that jobs can be submitted to."""

    name: str
    api: ClusterApi
    store: str | None
    """None: where the client's results live, on the same machine."""
    data: Path | None
    """None: as its processes have it."""
    python: str
    profile: Path | None
    """The compute profile beside its description."""

    def compute(self, path: Path | None) -> Profile:
        """The profile at ``path``, else the cluster's own, else the defaults."""
        return load_profile(path or self.profile)

    @property
    def variables(self) -> dict[str, str]:
        """What its jobs find in their environment; everybody can read it."""
        return {} if self.data is None else {"DESCANT_DATA": str(self.data)}

    def recipe(self, path: Path, overrides: Sequence[str]) -> Recipe:
        """The recipe at ``path`` as ``load_recipe`` reads it; what it names under DESCANT_DATA may be there alone."""
        if self.data is not None:
            os.environ.setdefault("DESCANT_DATA", str(self.data))
        return load_recipe(path, overrides)


def reach(name: str) -> Cluster:
    """The cluster ``name``: ``local``, a folder of ``clusters`` with a ``cluster.yaml``, or the path of one.

    Raises ConfigError where nothing describes it, DependencyError where the local one is not up. Whether another one
    is up is seen when it is asked.
    """
    if name == LOCAL:
        return _local()
    folder = find_folder(name)
    access = load_cluster(folder).access
    if access is None:
        raise ConfigError(
            "E-CLU-ACCESS",
            str(folder / "cluster.yaml"),
            "has no section 'access' that says where the cluster answers",
            "Nothing was sent. Add one (see clusters/README.md), or use: --cluster local",
        )
    api = ClusterApi(access.url.rstrip("/"), access.token_file.expanduser())
    return Cluster(name, api, access.store, access.data, access.python, _profile(folder))


def _local() -> Cluster:
    from descant.run.clusters.local import find

    found = find()
    if found is None:
        raise DependencyError(
            "E-CLU-DOWN", "cluster local", "is not up", "Start it with: descant cluster up local"
        )
    return Cluster(LOCAL, found.api, None, None, sys.executable, _profile(Path("clusters", LOCAL)))


def _profile(folder: Path) -> Path | None:
    path = (folder / PROFILE).absolute()
    return path if path.is_file() else None
