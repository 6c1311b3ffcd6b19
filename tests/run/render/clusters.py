"""Clusters and recipes for tests: the shipped ones, changed where a test needs it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from descant.run.clusters.render.render import render
from tests.golden.rendered import CLUSTERS, ROOT, SMOKE

__all__ = ["CLUSTERS", "ROOT", "SMOKE", "copy_of", "documents", "rendered_with"]


def copy_of(name: str, folder: Path, **changes: Any) -> Path:
    """The shipped cluster ``name``, copied into ``folder``, with these fields of its ``cluster.yaml`` set."""
    target = folder / name
    shutil.copytree(ROOT / "clusters" / name, target)
    values = yaml.safe_load((target / "cluster.yaml").read_text()) | changes
    (target / "cluster.yaml").write_text(yaml.safe_dump(values))
    return target


def rendered_with(name: str, folder: Path, **changes: Any) -> Mapping[str, str]:
    """The files of that cluster for the smoke recipe."""
    return render(copy_of(name, folder, **changes), SMOKE)


def documents(text: str, kind: str | None = None) -> list[dict[str, Any]]:
    """The documents of a YAML stream, or those of one kind."""
    return [each for each in yaml.safe_load_all(text) if kind in (None, each["kind"])]
