"""From a cluster's folder and a recipe to files for the tool that owns the cluster; checked before any is written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from descant.artifacts.commit import write_durably
from descant.core.errors import ConfigError
from descant.run.clusters.render import kuberay, launcher
from descant.run.clusters.render.kuberay import kuberay_files
from descant.run.clusters.render.launcher import launcher_files
from descant.run.clusters.render.policy import check
from descant.run.clusters.render.slurm import slurm_files
from descant.run.clusters.render.spec import KubeRayCluster, RayCluster, Rendered, SlurmCluster, load_cluster
from descant.run.clusters.render.work import PROFILE, Work, read_work

NEXT = {
    "kuberay": "kubectl apply -f {folder}/rayjob.yaml",
    "slurm": "cd {folder} && sbatch job.sbatch",
    "aws": "{folder}/run.sh",
    "gcp": "{folder}/run.sh",
}
"""What to do with the files."""


def render(folder: Path, recipe: Path) -> Mapping[str, str]:
    """The files for running ``recipe`` on the cluster in ``folder``: names and contents.

    Raises ConfigError for what is wrong with the cluster, its profile or the recipe, PolicyError (exit code 6) with the
    names of the rules that the files would break.
    """
    cluster = load_cluster(folder)
    if isinstance(cluster, RayCluster):
        raise ConfigError(
            "E-CLU-KIND",
            str(folder / "cluster.yaml"),
            "is of kind ray, which somebody else has started",
            "Nothing was written. Run the recipe there: descant submit",
        )
    work = read_work(recipe, folder / PROFILE, cluster, _storage(cluster))
    files = _files(cluster, work)
    check(files)
    return files


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write ``files`` into ``folder``, which is made where it is missing; scripts can be executed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_durably(folder / name, text)
        if name.endswith(".sh"):
            (folder / name).chmod(0o755)


def next_command(folder: Path, out: Path) -> str:
    """What to type once the files of the cluster in ``folder`` are in ``out``."""
    return NEXT[load_cluster(folder).kind].format(folder=shlex.quote(str(out)))


def _storage(cluster: Rendered) -> PurePosixPath:
    if isinstance(cluster, KubeRayCluster):
        return kuberay.STORAGE
    return PurePosixPath(cluster.storage) if isinstance(cluster, SlurmCluster) else launcher.STORAGE


def _files(cluster: Rendered, work: Work) -> dict[str, str]:
    if isinstance(cluster, KubeRayCluster):
        return kuberay_files(cluster, work)
    if isinstance(cluster, SlurmCluster):
        return slurm_files(cluster, work)
    return launcher_files(cluster, work)
