"""The store: results by address, ``<store>/<stage>/<fingerprint>/``, each with a manifest written last."""

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from descant.artifacts.commit import ENTRIES, files_of, published, storage_errors, write_durably
from descant.artifacts.lease import LEASE, lease
from descant.artifacts.manifest import MANIFEST, SCHEMA_VERSION, Manifest, Part, read_manifest
from descant.artifacts.paths import inside
from descant.artifacts.provenance import provenance
from descant.core.errors import BusyError, ConfigError, IntegrityError
from descant.core.fingerprint import canonical, file_digest

log = logging.getLogger(__name__)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""``s3://`` and the like; a path object has already made one slash of the two."""

_verified: dict[tuple[str, int, int], str] = {}


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
        """The file or folder of a part, after its bytes were checked against the manifest.

        Each file is hashed once per process. Raises IntegrityError with both digests when they differ.
        """
        part = self.part(name)
        path = inside(self.folder, part.path)
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
        return [name for name in names if published(self.folder, name) is None]

    def published(self, name: str) -> Part:
        """The entry of a published part; raises IntegrityError when there is none."""
        part = published(self.folder, name)
        if part is None:
            where = f"{self.stage}/{self.fingerprint}"
            raise IntegrityError("E-ART-PART", where, f"'{name}' is missing", "Run the same command.")
        return part

    def finish(self, names: Iterable[str], facts: Mapping[str, Any]) -> Artifact:
        """Write the manifest over the parts ``names`` and sweep what no entry lists.

        Raises IntegrityError when a part has no entry or its files do not match.
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
        for part in parts:
            artifact.path(part.name)
        with storage_errors(self.folder):
            _sweep(self.folder, manifest)
            write_durably(self.folder / MANIFEST, manifest.model_dump_json(indent=1))
        return artifact


class Store:
    """All results under one folder."""

    def __init__(self, root: Path | str) -> None:
        if _URL.match(str(root)):
            raise ConfigError(
                "E-STORE-URL",
                str(root),
                "expected a folder that all machines see (local disk or NFS)",
                "Nothing was written. Set DESCANT_STORE to a path.",
            )
        self.root = Path(root).resolve()

    def folder(self, stage: str, fingerprint: str) -> Path:
        """Where the result with this address lies, finished or not."""
        return inside(self.root, stage, fingerprint)

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The finished result at this address, or None."""
        folder = self.folder(stage, fingerprint)
        manifest = read_manifest(folder)
        return None if manifest is None else Artifact(folder, manifest)

    @contextmanager
    def draft(
        self, stage: str, version: int, fingerprint: str, label: str, spec: Any, inputs: Mapping[str, str]
    ) -> Iterator[Draft]:
        """Hold the address for writing; raises BusyError while another living process holds it."""
        folder = self.folder(stage, fingerprint)
        with storage_errors(self.root), lease(folder):
            yield Draft(folder, stage, version, fingerprint, label, spec, inputs)

    def tidy(self, artifact: Artifact) -> None:
        """Remove what a process that was killed at the very end left beside a finished result."""
        listed = _listed(artifact.manifest)
        if any(path.name not in listed for path in artifact.folder.iterdir()):
            with contextlib.suppress(BusyError), lease(artifact.folder):
                _sweep(artifact.folder, artifact.manifest)

    def all(self) -> Iterator[Artifact]:
        """Every finished result, by stage and fingerprint."""
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


def verify(artifact: Artifact) -> list[str]:
    """Re-hash every part from disk; one sentence for each that does not match its manifest."""
    problems = []
    for part in artifact.manifest.parts:
        path = inside(artifact.folder, part.path)
        for relative, expected in part.files.items():
            target = inside(path, relative) if relative else path
            if not target.is_file():
                problems.append(f"{part.name}: {target.name} is missing")
            elif (found := file_digest(target)) != expected:
                problems.append(
                    f"{part.name}: {target.name} has sha256 {found[:12]}, the manifest says {expected[:12]}"
                )
        if path.exists() and (extra := set(files_of(path)) - set(part.files)):
            problems.append(f"{part.name}: {', '.join(sorted(extra))} is not in the manifest")
    return problems


def repair(artifact: Artifact) -> list[str]:
    """Withdraw the manifest and the damaged parts, so that running the same command rebuilds only those."""
    damaged = [
        part.name
        for part in artifact.manifest.parts
        if verify(Artifact(artifact.folder, artifact.manifest.model_copy(update={"parts": (part,)})))
    ]
    if damaged:
        (artifact.folder / MANIFEST).unlink()
        for name in damaged:
            inside(artifact.folder, ENTRIES, f"{name}.json").unlink(missing_ok=True)
    return damaged


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


def store_root() -> Path:
    """``DESCANT_STORE``, by default ``./.descant``."""
    return Path(os.environ.get("DESCANT_STORE") or ".descant")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
