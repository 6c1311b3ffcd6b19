"""What a rendered cluster is to do: a recipe and a profile that were read, checked, and travel as they are."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.run.clusters.render.spec import Rendered, capacity
from descant.run.compare.comparison import Comparison
from descant.run.job import load_recipe
from descant.run.placement import Asked, Room, refuse_without_room
from descant.run.profile import Profile, load_profile

RECIPE, PROFILE = "recipe.yaml", "compute.yaml"
MOST_BYTES = 1 << 20
"""What a ConfigMap holds; recipe and profile together must fit."""
_NAME_LETTERS = 28
_EDGES = "-"


@dataclass(frozen=True)
class Work:
    """A recipe with the profile it is run under."""

    name: str
    """The job's id: the recipe's name and a digest of both texts, so that equal work has equal names."""
    verb: str
    """``run`` or ``compare``."""
    recipe: str
    profile: str

    def command(self, inputs: str, storage: PurePosixPath) -> list[str]:
        """The words that do it, with recipe and profile in the folder ``inputs``; the same words go on after a stop."""
        return [
            *("descant", self.verb, f"{inputs}/{RECIPE}"),
            *("--compute", f"{inputs}/{PROFILE}", "--store", str(storage / "results")),
        ]


def environment(storage: PurePosixPath) -> dict[str, str]:
    """Variables of every process: where data and models lie, and that nothing is fetched or sent."""
    return {
        "DESCANT_DATA": str(storage / "data"),
        "HF_HOME": str(storage / "models"),
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_ENABLE_V2": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def read_work(recipe: Path, profile: Path, cluster: Rendered, storage: PurePosixPath) -> Work:
    """Read and validate both, and hold the profile against what the cluster has at most.

    Raises ConfigError with file and line for either and where both together are larger than 1 MiB, ResourceError where
    the processes of a stage could never be placed on its nodes.
    """
    os.environ.setdefault("DESCANT_DATA", environment(storage)["DESCANT_DATA"])  # there, not here
    read = load_recipe(recipe)
    settings = load_profile(profile)
    if cluster.scales and not settings.autoscales:
        raise ConfigError(
            "E-CLU-SCALES",
            str(profile),
            "says nothing of a cluster that adds nodes, expected autoscales: true",
            "Nothing was written: the job would be refused by the nodes it begins with.",
        )
    _check_fit(settings, cluster)
    text = profile.read_text("utf-8")
    size = len(read.text.encode()) + len(text.encode())
    if size >= MOST_BYTES:
        raise ConfigError(
            "E-CLU-SIZE",
            str(recipe),
            f"{size} bytes with its profile, a ConfigMap holds less than {MOST_BYTES}",
            "Nothing was written. Shorten the recipe: data belongs into files.",
        )
    verb = "compare" if isinstance(read.job, Comparison) else "run"
    return Work(job_name(recipe.stem, f"{verb}\n{read.text}\n{text}"), verb, read.text, text)


def job_name(stem: str, content: str) -> str:
    """``stem`` in letters that Kubernetes takes, and eight digits of the digest of ``content``."""
    slug = re.sub("[^a-z0-9]+", "-", stem.lower()).strip(_EDGES)[:_NAME_LETTERS].strip(_EDGES)
    start = slug if slug[:1].isalpha() else f"job-{slug}".strip(_EDGES)
    return f"{start}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _check_fit(profile: Profile, cluster: Rendered) -> None:
    """Every section, whether the recipe has such a stage or not: what one never fits is a slip."""
    rooms = [Room(cpus, gpus) for cpus, gpus in capacity(cluster)]
    sections = ((name, getattr(profile, name)) for name in type(profile).model_fields)
    asked = [
        Asked(name, name, section.request)
        for name, section in sections
        if isinstance(section, Compute) and section.request is not None
    ]
    refuse_without_room(asked, rooms, profile.overridden({"autoscales": False}))  # these are all it may add
