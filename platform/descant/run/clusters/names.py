"""The clusters that a command can name; imports nothing slow, since the shell asks at every tab."""

from pathlib import Path

LOCAL = "local"
"""The Ray of this machine that stays between commands."""


def cluster_names() -> list[str]:
    """``local`` and the folders of ``./clusters`` that have a ``cluster.yaml``."""
    described = sorted(path.parent.name for path in Path("clusters").glob("*/cluster.yaml"))
    return [LOCAL, *described]
