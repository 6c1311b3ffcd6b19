"""The files of a shard and ``index.json`` beside them: no answer is given before all digests match.

A flipped bit loads without complaint from a faiss file or a NumPy array; only the sha256 in ``index.json``
tells.
"""

import json
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from descant.artifacts.paths import inside
from descant.core.errors import IntegrityError, PolicyError
from descant.core.fingerprint import file_digest
from descant.core.spec import Spec

INDEX = "index.json"
_REBUILD = "No result was returned. Build this shard again; the others can stay."
_PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npz"}


class Description(BaseModel):
    """What ``index.json`` says about the folder it lies in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal[1] = 1
    """Version of this description."""
    spec: dict[str, Any]
    """The index spec that built the shard."""
    rows: int
    """Rows of the shard."""
    first_row: int
    """Global number of its first row."""
    dim: int | None
    """Dimension of its vectors; None for texts."""
    files: dict[str, str]
    """sha256 of every other file."""


def describe(folder: Path, spec: Spec, *, rows: int, first_row: int, dim: int | None) -> None:
    """Write ``index.json`` over the files that now lie in ``folder``."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    description = Description(
        spec=spec.model_dump(mode="json"), rows=rows, first_row=first_row, dim=dim, files=files
    )
    text = json.dumps(description.model_dump(mode="json"), indent=1, sort_keys=True)
    (folder / INDEX).write_text(text, "utf-8")


def verified(folder: Path, spec: Spec) -> Description:
    """The description of ``folder`` once it is found to be whole, unpickled and built by ``spec``.

    Raises PolicyError for a pickled file, IntegrityError for a missing, extra or changed file and for another
    spec.
    """
    description = _read(folder)
    found = {path.name for path in folder.iterdir()} - {INDEX}
    for name in sorted(found):
        _refuse_pickle(folder / name)
    _check_spec(folder, description, spec)
    for name in sorted(found ^ set(description.files)):
        what = "lies in the folder and is not listed" if name in found else "is listed and not in the folder"
        raise IntegrityError("E-IDX-FILES", f"{folder}/{name}", f"{what} in {INDEX}", _REBUILD)
    for name, expected in description.files.items():
        actual = file_digest(inside(folder, name))
        if actual != expected:
            size = (folder / name).stat().st_size
            problem = f"sha256 {actual[:12]} of {size} bytes, {INDEX} says {expected[:12]}"
            raise IntegrityError("E-IDX-DIGEST", str(folder / name), problem, _REBUILD)
    return description


def _read(folder: Path) -> Description:
    path = folder / INDEX
    try:
        return Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise IntegrityError("E-IDX-FILES", str(path), "there is no such file", _REBUILD) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise IntegrityError("E-IDX-FILES", str(path), problem, _REBUILD) from None


def _check_spec(folder: Path, description: Description, spec: Spec) -> None:
    asked, built = spec.model_dump(mode="json"), description.spec
    names = sorted(name for name in asked.keys() | built.keys() if asked.get(name) != built.get(name))
    if names:
        found = ", ".join(f"{name} = {built.get(name)!r} (asked {asked.get(name)!r})" for name in names)
        raise IntegrityError(
            "E-IDX-SPEC",
            str(folder),
            f"built with {found}",
            "No result was returned. Open it with its own spec.",
        )


def _refuse_pickle(path: Path) -> None:
    """Raise PolicyError for any form of pickle, told by name and first bytes, without loading it."""
    with path.open("rb") as stream:
        head = stream.read(6)
        stream.seek(0)
        kind = None
        if path.suffix in _PICKLE_SUFFIXES:
            kind = f"a {path.suffix} file"
        elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            kind = "a pickle"
        elif head == b"\x93NUMPY" and _holds_objects(stream):
            kind = "a NumPy array of objects (.npy with a pickle inside)"
    if kind:
        raise PolicyError(
            "E-IDX-PICKLE",
            str(path),
            f"{kind}: loading it could run code, and no index of this program holds one",
            "It was not loaded. Remove the file, or build the shard again.",
        )


def _holds_objects(stream: BinaryIO) -> bool:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        return read(stream)[2].hasobject
    except ValueError:  # a damaged header: the digest will tell
        return False
