"""What travels to a cluster: the library's code, and one recipe with what it names beside it. Nothing else.

Both are zip files that are the same bytes for the same content, so that a cluster that has one is not sent it again.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import descant
from descant.artifacts.paths import inside
from descant.core.errors import ConfigError
from descant.run.clusters.reach import PROFILE
from descant.run.job import Recipe
from descant.run.profile import Profile

CODE_SUFFIXES = (".py", ".j2", ".typed")
MOST_BYTES = 100 << 20
"""What the head of a Ray cluster takes in one request."""
_BESIDE = re.compile(r"^\$\{DESCANT_JOBS\}/(.+)$")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """A zip file."""

    data: bytes

    @property
    def name(self) -> str:
        """Made of the content."""
        return f"_descant_{hashlib.sha256(self.data).hexdigest()[:32]}.zip"

    @property
    def uri(self) -> str:
        """As Ray names it."""
        return f"gcs://{self.name}"

    @property
    def api_path(self) -> str:
        """Where the HTTP interface has it."""
        return f"api/packages/gcs/{self.name}"


def code_package() -> Package:
    """The library as it is imported here."""
    root = Path(descant.__file__).parent
    files = {f"descant/{path.relative_to(root).as_posix()}": path for path in _files(root, CODE_SUFFIXES)}
    return _zipped({name: path.read_bytes() for name, path in files.items()})


def recipe_package(recipe: Recipe, profile: Profile) -> tuple[Package, str]:
    """The table of jobs, the recipe, what it names under ``${DESCANT_JOBS}`` and the profile; and where the recipe is
    in there.

    Raises ConfigError where what it names is missing or too large, PolicyError where it leads out of that folder.
    """
    jobs = Path(os.environ["DESCANT_JOBS"])  # set by load_recipe
    place = f"jobs/recipes/{recipe.job_name}/{_NOT_IN_A_NAME.sub('-', recipe.path.stem).strip('-.') or 'recipe'}.yaml"
    contents = {f"jobs/{path.name}": path.read_bytes() for path in sorted(jobs.glob("*.py"))}
    contents |= {f"jobs/{name}": path.read_bytes() for name, path in _beside(recipe, jobs).items()}
    contents[place] = recipe.text.encode()
    contents[PROFILE] = yaml.safe_dump(profile.model_dump(mode="json")).encode()
    return _zipped(contents), place


def beside_digests(recipe: Recipe) -> Mapping[str, str]:
    """The sha256 of every file that the recipe names under ``${DESCANT_JOBS}``, by its path there."""
    found = _beside(recipe, Path(os.environ["DESCANT_JOBS"]))
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def _beside(recipe: Recipe, jobs: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for value in _texts(recipe.job.model_dump()):
        match = _BESIDE.match(value)
        if match is None:
            continue
        top = inside(jobs, *match.group(1).split("/")[:2])  # data/SET, with its licence
        if not top.exists():
            raise ConfigError(
                "E-SUB-DATA", value, f"there is no {top}", "Nothing was sent. Correct the recipe."
            )
        found = _files(top) if top.is_dir() else [top]
        files |= {path.relative_to(jobs).as_posix(): path for path in found}
    return files


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _files(folder: Path, suffixes: tuple[str, ...] = ()) -> list[Path]:
    """Files under ``folder``, of all kinds or of some: no links, nothing hidden, nothing compiled."""
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        paths = [Path(here) / name for name in sorted(names) if not name.startswith(".")]
        found += [
            path for path in paths if not path.is_symlink() and (not suffixes or path.suffix in suffixes)
        ]
    return found


def _zipped(contents: Mapping[str, bytes]) -> Package:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])
    data = stream.getvalue()
    if len(data) > MOST_BYTES:
        largest = max(contents, key=lambda name: len(contents[name]))
        raise ConfigError(
            "E-SUB-SIZE",
            largest,
            f"makes the package {len(data) >> 20} MiB, expected at most {MOST_BYTES >> 20}",
            "Nothing was sent. Put the data on the cluster's disk and name it under ${DESCANT_DATA}.",
        )
    return Package(data)
