"""Results in the bucket of a store on a URL: which are finished, what they hold, what is swept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from descant.artifacts.bucket_lease import LEASES
from descant.artifacts.commit import ENTRIES
from descant.artifacts.mirror import mirror_of, place_file
from descant.artifacts.paths import inside
from descant.core.errors import IntegrityError

if TYPE_CHECKING:
    from descant.artifacts.store import Artifact


def pull_each(root: Path, file: str, stage: str | None = None) -> None:
    """Have the file of this name of every result, or of those of a stage, as the bucket has them and no others.

    Nothing for ordinary stores.
    """
    mirror = mirror_of(root)
    if mirror is None:
        return
    bucket = mirror.bucket
    stages = bucket.folders() if stage is None else [stage]
    found = bucket.read_many(f"{stage}/{name}/{file}" for stage in stages for name in bucket.folders(stage))
    for path in root.glob(f"{stage or '*'}/*/{file}"):
        if mirror.key(path) not in found:
            path.unlink()
    for key, data in found.items():
        path = inside(root, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        place_file(path, data)


def check_sizes(artifact: Artifact) -> bool:
    """Whether the result lies in a bucket; IntegrityError unless it holds as many bytes of every part as it should.

    The bytes themselves were hashed where they were made, and on their way by the object store.
    """
    mirror = mirror_of(artifact.folder)
    if mirror is None:
        return False
    sizes: Counter[str] = Counter()
    for relative, size in _objects(artifact.folder).items():
        sizes[relative.partition("/")[0]] += size
    for part in artifact.manifest.parts:
        if sizes[part.path] != part.bytes:
            raise IntegrityError(
                "E-ART-SIZE",
                f"{artifact.address}/{part.name}",
                f"the bucket holds {sizes[part.path]:,} bytes of it, its entry says {part.bytes:,}",
                f"The result was not finished. Delete its {ENTRIES}/{part.name}.json and run the same command.",
            )
    return True


def sweep_bucket(folder: Path, listed: set[str]) -> None:
    """Remove what ``listed`` does not name, by first part or whole, from the bucket; only for the lease's holder."""
    mirror = mirror_of(folder)
    if mirror is None:
        return
    here = mirror.key(folder)
    unlisted = []
    for relative in _objects(folder):
        first = relative.partition("/")[0]
        kept = relative in listed if first == ENTRIES else first in listed
        if not kept and not LEASES.match(relative):
            unlisted.append(f"{here}/{relative}")
    mirror.bucket.delete(unlisted)


def _objects(folder: Path) -> dict[str, int]:
    """Bytes of every object of a result, by its key below ``folder``."""
    mirror = mirror_of(folder)
    assert mirror is not None
    here = mirror.key(folder)
    return {key.removeprefix(f"{here}/"): size for key, size in mirror.bucket.sizes(here).items()}
