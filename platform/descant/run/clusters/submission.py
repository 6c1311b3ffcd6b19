"""Submitting a recipe to a cluster: one job for one set of settings, however often it is submitted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from descant import __version__
from descant.artifacts.store import Store
from descant.core.errors import DependencyError, PolicyError
from descant.core.fingerprint import fingerprint
from descant.core.spec import SECRET_KEY
from descant.run.clusters.jobs import SubmittedJob, list_jobs
from descant.run.clusters.package import Package, beside_digests, code_package, recipe_package
from descant.run.clusters.reach import Cluster
from descant.run.clusters.status import status_of
from descant.run.compare.comparison import Comparison
from descant.run.job import Recipe
from descant.run.loggable import has_secrets
from descant.run.placement import refuse_job_without_room, rooms_of
from descant.run.profile import Profile
from descant.run.progress import PROGRESS_LINES

LONGEST_NAME = 40
"""Letters of a submission id that come from the job's name."""


@dataclass(frozen=True)
class Submitted:
    """What became of a submission."""

    job: SubmittedJob
    is_new: bool
    """Whether it was started now; otherwise it was running or finished already."""


def submit(
    cluster: Cluster, recipe: Recipe, store: str, profile: Profile, options: Sequence[str]
) -> Submitted:
    """Start the job of ``recipe``, unless the cluster has it running or finished already.

    A job that failed or was stopped is started again, under its id with the next number. ``store`` is the folder on
    the cluster's nodes, or the URL, that holds the results; ``options`` are further ones of ``descant run``. Raises
    PolicyError for a secret in the recipe or its overrides and for a refused token, DependencyError where the cluster
    is away or runs another Ray, ResourceError where it could never place a step, ConfigError as ``recipe_package``.
    """
    _refuse_secrets(recipe)
    check_version(cluster)
    base = submission_id(recipe, store)
    found = latest(list_jobs(cluster.api), base)
    if found is not None and not found.may_be_resubmitted:
        return Submitted(found, False)
    refuse_job_without_room(recipe.job, Store(store), profile, rooms_of(status_of(cluster.api)))
    code, (inputs, place) = code_package(), recipe_package(recipe, profile)
    send(cluster, code)
    send(cluster, inputs)
    name = base if found is None else found.next_id
    body = {
        "submission_id": name,
        "entrypoint": entrypoint(cluster.python, recipe, place, store, options),
        "runtime_env": {
            "working_dir": inputs.uri,
            "py_modules": [code.uri],
            "env_vars": {PROGRESS_LINES: "1", **cluster.variables},
        },
        "metadata": {"recipe": str(recipe.path), "job": recipe.job_name, "descant": __version__},
    }
    is_new = _start(cluster, name, body)
    job = latest(list_jobs(cluster.api), base)
    if job is None:
        raise cluster.api.away(f"has lost the job {name} that it had taken")
    return Submitted(job, is_new)


def submission_id(recipe: Recipe, store: str) -> str:
    """The same for the same settings, data beside the recipe and store: ``finetune-retriever-3fa9c0ffee12``.

    Lower-case letters, digits and hyphens, at most 53 of them.
    """
    settings = recipe.job.model_dump(mode="json")
    digest = fingerprint({"job": settings, "beside": beside_digests(recipe), "store": store})
    name = re.sub(r"[^a-z0-9]+", "-", recipe.job_name.lower()).strip("-")[:LONGEST_NAME]
    return f"{name or 'job'}-{digest}"


def latest(jobs: Sequence[SubmittedJob], base: str) -> SubmittedJob | None:
    """The last attempt at the job whose first id is ``base``."""
    attempts = [job for job in jobs if job.base == base]
    return max(attempts, key=lambda job: job.attempt, default=None)


def entrypoint(python: str, recipe: Recipe, place: str, store: str, options: Sequence[str]) -> str:
    """The command that the job runs, for a shell: every argument quoted."""
    command = "compare" if isinstance(recipe.job, Comparison) else "run"
    overrides = [part for override in recipe.overrides for part in ("--set", override)]
    return shlex.join(
        [
            *(python, "-m", "descant.cli", command, place),
            *("--store", store, "--compute", "compute.yaml"),
            *overrides,
            *options,
        ]
    )


def _start(cluster: Cluster, name: str, body: dict[str, Any]) -> bool:
    """Whether it was started by this; another client may have been quicker with the same id, which Ray answers with an
    error of its own.
    """
    try:
        cluster.api.post("api/jobs/", body)
    except DependencyError:
        if any(job.id == name for job in list_jobs(cluster.api)):
            return False
        raise
    return True


def send(cluster: Cluster, package: Package) -> None:
    """Leave ``package`` there, unless the cluster has it."""
    if not cluster.api.has(package.api_path):
        cluster.api.put(package.api_path, package.data)


def check_version(cluster: Cluster) -> None:
    """Raise DependencyError, with both versions, where the cluster runs another Ray."""
    theirs, ours = cluster.api.get("api/version")["ray_version"], version("ray")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise DependencyError(
            "E-CLU-VERSION",
            cluster.api.url,
            f"runs Ray {theirs}, this descant was made for Ray {ours}",
            "Nothing was sent. Install the same Ray on both sides.",
        )


def _refuse_secrets(recipe: Recipe) -> None:
    """What is submitted can be read by everyone who sees the cluster's processes, pages and logs."""
    for override in recipe.overrides:
        key, _, value = override.partition("=")
        if SECRET_KEY.search(key) or has_secrets(value):
            raise _secret(f"--set {key}")
    if has_secrets(recipe.job.model_dump(mode="json")):
        raise _secret(str(recipe.path))


def _secret(where: str) -> PolicyError:
    return PolicyError(
        "E-SUB-SECRET",
        where,
        "holds what looks like a secret, and a submitted job can be read by all who see the cluster",
        "Nothing was sent. Leave the secret in a file on the cluster's nodes.",
    )
