"""Stores on URLs: a folder on every machine beside the bucket that holds the truth.

    ~/.descant/stores/s3=3A=2F=2Fbucket=2Fteam/embed/3fa9c0ffee12/part-00000-0123456789.parquet

The folder's name is the URL, with = for the % that SQLite's addresses would take apart. So a path is all that a worker
has to be handed: wherever it runs, it finds the bucket by the path and fetches what is not on its disk. The folder is a
cache: all of it but MLflow's database may be deleted while nothing runs. For paths of ordinary stores every function
here does nothing.
"""

import contextlib
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from descant.artifacts.bucket import Bucket, checked_url
from descant.artifacts.paths import home, inside
from descant.core.errors import ConfigError, IntegrityError
from descant.core.fingerprint import file_digest, folder_digest

STORES = "stores"
MACHINE = ".machine"
INCOMING = ".incoming"
"""Where downloads lie until they are whole."""
_PART = re.compile(r"-([0-9a-f]{10})(\.[A-Za-z0-9.]+)?$")
"""How the name of a published part ends: the first digits of its digest."""


class Mirror:
    """The folder ``root`` and the bucket that it stands for."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.bucket = Bucket(url)

    @cached_property
    def machine(self) -> str:
        """An id of the disk that the folder lies on: whoever has another one sees other files."""
        path = self.root / MACHINE
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            draft = path.with_name(f"{MACHINE}.{uuid.uuid4().hex}")
            draft.write_text(uuid.uuid4().hex)
            os.link(draft, path)
        draft.unlink()
        return path.read_text()

    def key(self, path: Path) -> str:
        """The object at ``path``."""
        return "" if path == self.root else path.relative_to(self.root).as_posix()

    def part_of(self, path: Path) -> Path | None:
        """The published part that ``path`` is or lies in."""
        parts = path.relative_to(self.root).parts
        return self.root.joinpath(*parts[:3]) if len(parts) > 2 and _PART.search(parts[2]) else None

    def download(self, path: Path) -> bool:
        """Copy what the bucket holds at ``path``, an object or a tree of them; False when it holds nothing.

        It appears as one. Raises IntegrityError where the bytes of a part are not those that its name tells,
        PolicyError for an object whose name could lead out of the folder.
        """
        here = self.key(path)
        keys = self.bucket.sizes(here)
        if not keys:
            return False
        draft = self.root / INCOMING / uuid.uuid4().hex
        try:
            digests = {}
            for key in keys:
                relative = key.removeprefix(here).removeprefix("/")
                target = inside(draft, relative) if relative else draft
                target.parent.mkdir(parents=True, exist_ok=True)
                self.bucket.get(key, target)
                digests[relative] = file_digest(target)
            told = _PART.search(path.name)
            if path == self.part_of(path) and told and not folder_digest(digests).startswith(told[1]):
                raise IntegrityError(
                    "E-ART-DIGEST",
                    f"{self.bucket.url}/{here}",
                    f"its name tells the digest {told[1]}, its bytes have {folder_digest(digests)[:10]}",
                    "Nothing was computed from it. 'descant verify --repair' withdraws the damaged parts.",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            draft.rename(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            draft.unlink(missing_ok=True)
        return True

    @contextmanager
    def alone(self, path: Path) -> Iterator[None]:
        """One process of this machine at a time: several that want the same part load it once."""
        waiting = self.root / INCOMING / f"{self.key(path).replace('/', '-')}.lock"
        waiting.parent.mkdir(parents=True, exist_ok=True)
        with waiting.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def mirror_root(url: str) -> Path:
    """The folder on this machine for the store at ``url``; ConfigError for a URL that can be no store."""
    name = quote(checked_url(url), safe="").replace("%", "=")
    if len(name) > 200:
        raise ConfigError("E-STORE-URL", url, "is too long", "Nothing was written. Use a shorter prefix.")
    return home() / STORES / name


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that ``path`` lies in; None for a path of an ordinary store."""
    for folder in (path, *path.parents):
        if folder.parent.name == STORES and "=3A=2F=2F" in folder.name:
            return _mirror(folder)
    return None


@lru_cache(maxsize=16)
def _mirror(root: Path) -> Mirror:
    return Mirror(root, unquote(root.name.replace("=", "%")))


def fetch(path: Path) -> Path:
    """``path``, with its bytes on this machine's disk where the bucket has them; a part comes whole."""
    mirror = mirror_of(path)
    if mirror is not None:
        wanted = mirror.part_of(path) or path
        if not wanted.exists():
            with mirror.alone(wanted):
                if not wanted.exists():
                    mirror.download(wanted)
    return path


def pull(path: Path) -> bool:
    """Have ``path`` as the bucket has it now: replaced, or removed where it has nothing (False)."""
    mirror = mirror_of(path)
    if mirror is None:
        return path.exists()
    if mirror.download(path):
        return True
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return False


def pull_missing(folder: Path) -> None:
    """Have the files below ``folder`` that the bucket has and this machine has not."""
    mirror = mirror_of(folder)
    if mirror is None:
        return
    with mirror.alone(folder):
        for key in mirror.bucket.sizes(mirror.key(folder)):
            path = inside(mirror.root, key)
            if not path.exists():
                mirror.download(path)


def push(path: Path) -> None:
    """Have the bucket hold what ``path``, a file or a folder, holds; what else it holds there stays."""
    mirror = mirror_of(path)
    if mirror is None:
        return
    files = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    for file in files:
        mirror.bucket.put(file, mirror.key(file))


def drop(path: Path) -> None:
    """Have the bucket hold nothing at ``path`` and below it."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.bucket.delete(mirror.bucket.sizes(mirror.key(path)))


def pull_new(folder: Path, *, prune: bool = False) -> None:
    """Have the small files of ``folder`` that only the bucket has; with ``prune``, lose those that it has not."""
    mirror = mirror_of(folder)
    if mirror is None:
        return
    keys = mirror.bucket.sizes(mirror.key(folder))
    folder.mkdir(parents=True, exist_ok=True)
    here = {mirror.key(path): path for path in folder.iterdir() if not path.name.startswith(".")}
    for key, data in mirror.bucket.read_many(sorted(set(keys) - set(here))).items():
        place_file(inside(mirror.root, key), data)
    if prune:
        for key in set(here) - set(keys):
            here[key].unlink(missing_ok=True)


def place_file(path: Path, data: bytes) -> None:
    """Make or replace a small file in one step."""
    draft = path.with_name(f".{uuid.uuid4().hex}")
    draft.write_bytes(data)
    os.replace(draft, path)
