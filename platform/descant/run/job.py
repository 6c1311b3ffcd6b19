"""A job: a recipe's spec and the steps it stands for; and how a recipe file finds its job."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descant.artifacts.store import Artifact, Store
from descant.core.errors import ConfigError, IntegrityError
from descant.core.fingerprint import file_digest
from descant.core.spec import Spec, build_spec, with_overrides
from descant.core.yaml_file import read_yaml
from descant.stages.base import Step


@dataclass(frozen=True)
class Results:
    """What a job has once all of its steps are done."""

    store: Store
    artifacts: Mapping[str, Artifact]
    """The result of each target, by the name that ``steps`` gave it."""

    def inputs_of(self, name: str) -> dict[str, Artifact]:
        """The results that the one called ``name`` was made from."""
        found = {}
        for role, address in self.artifacts[name].manifest.inputs.items():
            artifact = self.store.find(*address.split("/"))
            if artifact is None:
                raise IntegrityError(
                    "E-STORE-FIND",
                    address,
                    "is no longer in the store",
                    "Run the same command to make it again.",
                )
            found[role] = artifact
        return found


@dataclass(frozen=True)
class RegisterModel:
    """Which result of a job goes into the registry, and on what grounds."""

    name: str
    """The registered model."""
    trained: str
    """Name of the result that holds the model."""
    system: str
    """Name of its evaluation."""
    baseline: str
    """Name of the evaluation that it has to beat."""
    measure: str
    """By which measure."""


class Job(Spec):
    """A recipe. Subclasses declare their settings and how they become steps."""

    seed: int = 17
    """All randomness of the job comes from here."""

    def steps(self) -> Mapping[str, Step]:
        """The results the job is after, by name; what they need is found through their inputs."""
        raise TypeError(f"{type(self).__name__} has no steps")

    def summary(self, results: Results) -> Sequence[Any]:
        """What to print when everything is done, as rich renderables; nothing by default."""
        return ()

    def registration(self) -> RegisterModel | None:
        """What to register once everything is done; nothing by default."""
        return None


@dataclass(frozen=True)
class Recipe:
    """A recipe file that was read and validated."""

    path: Path
    overrides: tuple[str, ...]
    job_name: str
    job: Job
    text: str
    digest: str


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe; raises ConfigError with file and line before anything is started."""
    document = read_yaml(path)
    table = job_table(path)
    name = document.values.get("job")
    if not isinstance(name, str) or name not in table:
        raise ConfigError(
            "E-CFG-JOB",
            document.where(("job",)),
            f"'job' is {name!r}, expected one of {', '.join(sorted(table))}",
            "Name the job in the recipe's first line.",
        )
    document = with_overrides(document, overrides)
    job = build_spec(table[name], document)
    return Recipe(
        path=path,
        overrides=tuple(overrides),
        job_name=name,
        job=job,
        text=path.read_text("utf-8"),
        digest=file_digest(path),
    )


def job_table(near: Path) -> Mapping[str, type[Job]]:
    """The jobs of the nearest folder called ``jobs`` above ``near``, else of the one in the working directory.

    Sets DESCANT_JOBS to that folder, so that recipes can name the data that lies beside them. Raises ConfigError when
    there is no such folder.
    """
    folders = [parent for parent in near.resolve().parents if parent.name == "jobs"] + [Path.cwd() / "jobs"]
    for folder in folders:
        if (folder / "__init__.py").is_file():
            os.environ["DESCANT_JOBS"] = str(folder)
            return _import_table(folder)
    raise ConfigError(
        "E-CFG-JOBS",
        str(near),
        "no folder 'jobs' with a table of jobs above the recipe or in the working directory",
        "Run from a checkout of descant, or put the recipe under its jobs/recipes.",
    )


def _import_table(folder: Path) -> Mapping[str, type[Job]]:
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    table: Any = importlib.import_module("jobs").JOBS
    return {cls.model_fields["job"].default: cls for cls in table}
