"""What is known about a finished result: its address, its parts with digests, and where it came from."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from descant.core.errors import IntegrityError
from descant.core.fingerprint import fingerprint

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RejectedRow(_Record):
    """An input row that is not in the result, and the reason."""

    id: str
    where: str
    reason: str


class Part(_Record):
    """One published file or folder of a result."""

    name: str
    """Its logical name, for example ``part-00003``."""
    path: str
    """Where it lies, relative to the result's folder; the name holds the first digits of the digest."""
    files: dict[str, str]
    """sha256 of every file: ``{"": digest}`` for a single file, relative names for a folder."""
    sha256: str
    """One digest for all of ``files``."""
    bytes: int
    """Size of all files together."""
    rows: int
    """Rows of the input that are in this part."""
    rejected: tuple[RejectedRow, ...] = ()
    """Rows of the input that were left out."""
    facts: dict[str, Any] = {}
    """Counts and figures that the stage wants to keep with the part."""


class Manifest(_Record):
    """The record that makes a result finished; it is written last."""

    schema_version: int
    stage: str
    version: int
    fingerprint: str
    label: str
    """The step's name in the job that made it first."""
    spec: dict[str, Any]
    inputs: dict[str, str]
    """``stage/fingerprint`` of every upstream result."""
    parts: tuple[Part, ...]
    facts: dict[str, Any]
    provenance: dict[str, Any]
    started: str
    finished: str

    @property
    def rows(self) -> int:
        """Rows in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def rejected(self) -> tuple[RejectedRow, ...]:
        """Every quarantined row."""
        return tuple(row for part in self.parts for row in part.rejected)

    @property
    def digest(self) -> str:
        """Twelve hex digits over the contents alone: equal for two runs that computed the same bytes."""
        return fingerprint({part.name: part.sha256 for part in self.parts})


def address_of(stage: str, version: int, spec: Any, inputs: dict[str, str]) -> str:
    """The fingerprint of a result: stage, version of its meaning, spec, and upstream fingerprints."""
    return fingerprint({"stage": stage, "version": version, "spec": spec, "inputs": inputs})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in ``folder``, or None when there is none (not finished).

    Raises IntegrityError when it is not readable as a manifest of this schema version.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    again = f"Nothing was changed. Move the folder {folder} away and run the same command."
    try:
        values = json.loads(text)
        version = values["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("E-ART-MANIFEST", str(path), f"not a manifest ({error})", again) from None
    if version != SCHEMA_VERSION:
        age = "a newer" if isinstance(version, int) and version > SCHEMA_VERSION else "an older"
        problem = f"schema version {version}, this descant reads {SCHEMA_VERSION}: written by {age} version"
        raise IntegrityError("E-ART-SCHEMA", str(path), problem, f"Use that version, or: {again}")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise IntegrityError("E-ART-MANIFEST", str(path), f"{place}: {first['msg']}", again) from None
