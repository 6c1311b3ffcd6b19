"""The store: results by address, ``<store>/<stage>/<fingerprint>/``, each with a manifest written last."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from descant.artifacts.bucket import is_url
from descant.artifacts.bucket_lease import bucket_lease
from descant.artifacts.bucket_results import check_sizes, pull_each, sweep_bucket
from descant.artifacts.commit import ENTRIES, published, published_here, storage_errors, write_durably
from descant.artifacts.lease import LEASE, lease
from descant.artifacts.manifest import MANIFEST, SCHEMA_VERSION, Manifest, Part, read_manifest
from descant.artifacts.mirror import fetch, mirror_of, mirror_root, pull, pull_new, push
from descant.artifacts.paths import inside
from descant.artifacts.provenance import provenance
from descant.artifacts.verify import check_files
from descant.core.errors import BusyError, ConfigError, IntegrityError
from descant.core.fingerprint import canonical

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A finished result. It can be sent to workers: it holds a folder and a manifest, no open files."""

    folder: Path
    manifest: Manifest

    @property
    def address(self) -> str:
        """``stage/fingerprint``."""
        return f"{self.manifest.stage}/{self.manifest.fingerprint}"

    @cached_property
    def _by_name(self) -> dict[str, Part]:
        return {part.name: part for part in self.manifest.parts}

    def names(self, prefix: str = "") -> list[str]:
        """Names of the parts that start with ``prefix``, in order."""
        return sorted(part.name for part in self.manifest.parts if part.name.startswith(prefix))

    def part(self, name: str) -> Part:
        """The entry of the part called ``name``; raises IntegrityError when the manifest does not list it."""
        part = self._by_name.get(name)
        if part is not None:
            return part
        raise IntegrityError(
            "E-ART-PART",
            self.address,
            f"no part '{name}'; there are {', '.join(self.names()[:5])}",
            "Nothing was read.",
        )

    def path(self, name: str) -> Path:
        """The file or folder of a part on this machine's disk, after its bytes were checked against the manifest.

        Each file is hashed once per process. Raises IntegrityError with both digests when they differ.
        """
        part = self.part(name)
        path = fetch(inside(self.folder, part.path))
        try:
            check_files(path, part.files, f"{self.address}/{part.name}")
        except IntegrityError:
            pull(path)  # a bucket may have it whole
            check_files(path, part.files, f"{self.address}/{part.name}")
        return path


@dataclass
class Draft:
    """A result being written by the holder of its lease."""

    folder: Path
    stage: str
    version: int
    fingerprint: str
    label: str
    spec: Any
    inputs: Mapping[str, str]
    started: str = field(default_factory=lambda: _now())

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are not published yet."""
        pull_new(self.folder / ENTRIES)
        there = published_here(self.folder)
        return [name for name in names if name not in there]

    def published(self, name: str) -> Part:
        """The entry of a published part; raises IntegrityError when there is none."""
        part = published(self.folder, name)
        if part is None:
            where = f"{self.stage}/{self.fingerprint}"
            raise IntegrityError("E-ART-PART", where, f"'{name}' is missing", "Run the same command.")
        return part

    def path(self, name: str) -> Path:
        """The file or folder of a published part on this machine's disk. Raises what ``published`` raises."""
        return fetch(inside(self.folder, self.published(name).path))

    def finish(self, names: Iterable[str], facts: Mapping[str, Any]) -> Artifact:
        """Write the manifest over the parts ``names`` and sweep what no entry lists.

        Raises IntegrityError when a part has no entry or its files do not match; of what lies in a bucket, the sizes.
        """
        parts = [self.published(name) for name in sorted(names)]
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            stage=self.stage,
            version=self.version,
            fingerprint=self.fingerprint,
            label=self.label,
            spec=canonical(self.spec),
            inputs=dict(self.inputs),
            parts=tuple(parts),
            facts=json.loads(json.dumps(facts)),
            provenance=provenance(),
            started=self.started,
            finished=_now(),
        )
        artifact = Artifact(self.folder, manifest)
        if not check_sizes(artifact):
            for part in parts:
                artifact.path(part.name)
        with storage_errors(self.folder):
            _sweep(self.folder, manifest)
            write_durably(self.folder / MANIFEST, manifest.model_dump_json(indent=1))
            push(self.folder / MANIFEST)
        return artifact


class Store:
    """All results under one folder, or under one URL of an object store with a folder on every machine."""

    def __init__(self, place: Path | str) -> None:
        """``place`` is a folder or a URL. Raises ConfigError for a URL that can be no store."""
        self.root = mirror_root(str(place)) if is_url(str(place)) else Path(place).resolve()
        mirror = mirror_of(self.root)
        self.place = str(self.root) if mirror is None else mirror.bucket.url
        """The folder or the URL, as it is given to another command."""

    def folder(self, stage: str, fingerprint: str) -> Path:
        """Where the result with this address lies, finished or not."""
        return inside(self.root, stage, fingerprint)

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The finished result at this address, or None."""
        folder = self.folder(stage, fingerprint)
        pull(folder / MANIFEST)
        manifest = read_manifest(folder)
        return None if manifest is None else Artifact(folder, manifest)

    @contextmanager
    def draft(
        self, stage: str, version: int, fingerprint: str, label: str, spec: Any, inputs: Mapping[str, str]
    ) -> Iterator[Draft]:
        """Hold the address for writing; raises BusyError while another living process holds it."""
        folder = self.folder(stage, fingerprint)
        with storage_errors(self.root), lease(folder), bucket_lease(folder):
            pull_new(folder / ENTRIES, prune=True)
            yield Draft(folder, stage, version, fingerprint, label, spec, inputs)

    def tidy(self, artifact: Artifact) -> None:
        """Remove what a process that was killed at the very end left beside a finished result."""
        listed = _listed(artifact.manifest)
        if any(path.name not in listed for path in artifact.folder.iterdir()):
            with contextlib.suppress(BusyError), lease(artifact.folder):
                _sweep(artifact.folder, artifact.manifest)

    def all(self) -> Iterator[Artifact]:
        """Every finished result, by stage and fingerprint."""
        pull_each(self.root, MANIFEST)
        for path in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            manifest = read_manifest(path.parent)
            if manifest is not None:
                yield Artifact(path.parent, manifest)

    def resolve(self, fingerprint: str) -> Artifact:
        """The result whose fingerprint starts with ``fingerprint``; ConfigError when there is none or several."""
        found = [a for a in self.all() if a.manifest.fingerprint.startswith(fingerprint)]
        if len(found) != 1:
            options = ", ".join(a.address for a in found[:5]) or "none"
            raise ConfigError(
                "E-STORE-FIND", fingerprint, f"{len(found)} results match ({options})", "See: descant show"
            )
        return found[0]


def _listed(manifest: Manifest) -> set[str]:
    return {part.path for part in manifest.parts} | {MANIFEST, ENTRIES}


def _sweep(folder: Path, manifest: Manifest) -> None:
    """Remove everything that the manifest does not list; only for the holder of the lease."""
    keep = _listed(manifest) | {LEASE}
    known = {f"{part.name}.json" for part in manifest.parts}
    for path in folder.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for entry in (folder / ENTRIES).glob("*.json"):
        if entry.name not in known:
            entry.unlink()
    sweep_bucket(folder, {*_listed(manifest), *(f"{ENTRIES}/{name}" for name in known)})


def store_root() -> str:
    """``DESCANT_STORE``, a folder or a URL, by default ``./.descant``."""
    return os.environ.get("DESCANT_STORE") or ".descant"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
