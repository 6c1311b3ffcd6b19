"""Whether the bytes of a result are those that its manifest promises."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.commit import ENTRIES, files_of
from descant.artifacts.manifest import MANIFEST, Part
from descant.artifacts.mirror import drop, mirror_of
from descant.artifacts.paths import inside
from descant.core.errors import IntegrityError
from descant.core.fingerprint import file_digest

if TYPE_CHECKING:
    from descant.artifacts.store import Artifact

_verified: dict[tuple[str, int, int], str] = {}


def verify(artifact: "Artifact") -> list[str]:
    """Re-hash every part from disk or bucket; one sentence for each that does not match its manifest.

    Raises PolicyError for a manifest that names a file outside its part.
    """
    return [problem for part in artifact.manifest.parts for problem in _problems(artifact, part)]


def repair(artifact: "Artifact") -> list[str]:
    """Withdraw the manifest and the damaged parts, so that running the same command rebuilds only those."""
    damaged = [part.name for part in artifact.manifest.parts if _problems(artifact, part)]
    if damaged:
        withdrawn = [artifact.folder / MANIFEST]
        withdrawn += [inside(artifact.folder, ENTRIES, f"{name}.json") for name in damaged]
        for path in withdrawn:
            drop(path)
            path.unlink(missing_ok=True)
    return damaged


def _problems(artifact: "Artifact", part: Part) -> list[str]:
    path = inside(artifact.folder, part.path)
    found = _digests(path)
    problems = []
    for relative, expected in part.files.items():
        name = (inside(path, relative) if relative else path).name
        if relative not in found:
            problems.append(f"{part.name}: {name} is missing")
        elif found[relative] != expected:
            problems.append(
                f"{part.name}: {name} has sha256 {found[relative][:12]}, the manifest says {expected[:12]}"
            )
    if extra := set(found) - set(part.files):
        problems.append(f"{part.name}: {', '.join(sorted(extra))} is not in the manifest")
    return problems


def _digests(path: Path) -> dict[str, str]:
    """The sha256 of every file of a part, by relative name; of a store on a URL, as its bucket has them."""
    mirror = mirror_of(path)
    if mirror is None:
        return {name: file_digest(file) for name, file in files_of(path).items()} if path.exists() else {}
    here = mirror.key(path)
    keys = mirror.bucket.sizes(here)
    return {key.removeprefix(here).removeprefix("/"): mirror.bucket.digest(key) for key in keys}


def check_files(path: Path, files: Mapping[str, str], what: str) -> None:
    """Raise IntegrityError unless every file under ``path`` has its sha256; each is hashed once per process."""
    for relative, expected in files.items():
        target = inside(path, relative) if relative else path
        try:
            status = target.stat()
        except FileNotFoundError:
            found = "nothing"
        else:
            key = (str(target), status.st_size, status.st_mtime_ns)
            if key not in _verified:
                _verified[key] = file_digest(target)
            found = _verified[key]
        if found != expected:
            raise IntegrityError(
                "E-ART-DIGEST",
                f"{what} ({target.name})",
                f"the manifest promises sha256 {expected[:12]}, the disk holds {found[:12]}",
                "Nothing was computed from it. 'descant verify --repair' withdraws the damaged parts; "
                "the same command then rebuilds only those.",
            )
