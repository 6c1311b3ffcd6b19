"""Where descant remembers clusters between commands."""

from pathlib import Path

from descant.artifacts.paths import home, inside


def clusters_folder() -> Path:
    """A folder for each cluster."""
    return home() / "clusters"


def cluster_folder(name: str) -> Path:
    """The folder of the cluster ``name``, mode 0700, made where it is missing. Raises PolicyError for a bad name."""
    folder = inside(clusters_folder(), name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder
