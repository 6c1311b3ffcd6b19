"""Fingerprints: twelve hex digits that address a result by what made it.

The canonical form refuses every value without one stable spelling. A permissive ``str()`` fallback would give the same
spec two addresses on two machines (sets iterate in hash-seed order) or two specs the same one.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from descant.core.spec import Compute, Spec


def canonical(value: Any) -> Any:
    """``value`` as plain JSON data with one spelling.

    Accepts specs, str, int, finite float, bool, None, lists, tuples and str-keyed mappings. Raises TypeError for
    everything else (``Compute`` and paths by name), ValueError for NaN and infinity.
    """
    if isinstance(value, Compute):
        raise TypeError(f"{type(value).__name__} says how, not what: it must not enter a fingerprint")
    if isinstance(value, Spec):
        return canonical(value.identity())
    if value is None or isinstance(value, bool | str):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} has no canonical form")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: canonical(value[key]) for key in sorted(value)}
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")


def fingerprint(value: Any) -> str:
    """The first 12 hex digits of the sha256 of the canonical JSON of ``value``."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(files: Mapping[str, str]) -> str:
    """One sha256 for a set of files, given as {relative name: sha256}."""
    text = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()
