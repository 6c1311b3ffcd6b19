"""Where descant remembers clusters between commands."""

import os
from pathlib import Path

from descant.artifacts.paths import inside


def clusters_folder() -> Path:
    """``DESCANT_HOME/clusters``, in the user's home unless the variable says otherwise."""
    return Path(os.environ.get("DESCANT_HOME") or Path.home() / ".descant").absolute() / "clusters"


def cluster_folder(name: str) -> Path:
    """The folder of the cluster ``name``, mode 0700, made where it is missing. Raises PolicyError for a bad name."""
    folder = inside(clusters_folder(), name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder
