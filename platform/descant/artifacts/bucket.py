"""A folder in an object store, by fsspec: as much of it as a store on a URL stands on.

    create       a conditional write (If-None-Match): of several writers one succeeds
    write, put   an object appears whole or not at all, for everyone at the same time
    names        everything that was written before

Amazon S3, Google Cloud Storage and Azure Blob Storage promise this. Others speak the same language and may not mean it:
``refuse_unconditional`` tries.
"""

import errno
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from descant.core.errors import ConfigError, DependencyError

LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""What fsspec needs for each kind of URL."""
PROOF = "conditional-writes"
"""The object that shows, by refusing to be written again, that writes can be made conditional."""
LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that are this machine's disk's, and not the object store's."""
BLOCK = 8 << 20


class Bucket:
    """The objects whose keys start with the path of ``url``; keys are given relative to it.

    Every method raises DependencyError where the object store does not answer or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self._prefix = self.url.partition("://")[2]

    @cached_property
    def _fs(self) -> Any:
        scheme = urlsplit(self.url).scheme
        import fsspec

        try:
            return fsspec.filesystem(scheme, use_listings_cache=False)
        except ImportError:
            raise DependencyError(
                "E-STORE-LIBRARY",
                self.url,
                f"needs the package {LIBRARIES[scheme]}, which is not installed",
                f"Nothing was changed. Run: pip install {LIBRARIES[scheme]}",
            ) from None

    def read(self, key: str) -> bytes | None:
        """The object's bytes, or None when there is none."""
        with self._answering():
            try:
                return bytes(self._fs.cat_file(self._path(key)))
            except FileNotFoundError:
                return None

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """The bytes of many small objects at once; those that are gone are left out."""
        paths = {self._path(key): key for key in keys}
        with self._answering():
            found = self._fs.cat(list(paths), on_error="omit") if paths else {}
        if isinstance(found, bytes):  # fsspec answers a single path so
            found = dict.fromkeys(paths, found)
        return {paths[path]: data for path, data in found.items()}

    def write(self, key: str, data: bytes) -> None:
        """Make or replace a small object."""
        with self._answering():
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Make a small object; False, and nothing changed, when there is one."""
        with self._answering():
            try:
                self._fs.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
        return True

    def put(self, file: Path, key: str) -> None:
        """Make or replace an object from a file of any size."""
        with self._answering():
            self._fs.put_file(str(file), self._path(key))

    def get(self, key: str, file: Path) -> None:
        """Copy an object into a file."""
        with self._answering():
            self._fs.get_file(self._path(key), str(file))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of every object at ``prefix`` or below it, by key."""
        with self._answering():
            found = self._fs.find(self._path(prefix), detail=True)
        return {self._key(path): int(about["size"]) for path, about in found.items()}

    def folders(self, prefix: str = "") -> list[str]:
        """Names of what looks like a folder directly below ``prefix``."""
        with self._answering():
            try:
                found = self._fs.ls(self._path(prefix), detail=True)
            except FileNotFoundError:
                return []
        return sorted(about["name"].rpartition("/")[2] for about in found if about["type"] == "directory")

    def digest(self, key: str) -> str:
        """The sha256 of an object, read through."""
        digest = hashlib.sha256()
        with self._answering(), self._fs.open(self._path(key), "rb", block_size=BLOCK) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already do not matter."""
        paths = [self._path(key) for key in keys]
        with self._answering():
            for path in paths:
                try:
                    self._fs.rm_file(path)
                except FileNotFoundError:
                    continue

    def refuse_unconditional(self) -> None:
        """Raise DependencyError where the object store takes a conditional write for an ordinary one."""
        if self.create(PROOF, b"") and self.create(PROOF, b""):
            raise DependencyError(
                "E-STORE-CONDITIONAL",
                self.url,
                "writes an object that exists although it was asked not to (If-None-Match): two runs could overwrite "
                "each other",
                "No result was written. Use an object store with conditional writes.",
            )

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if key else self._prefix

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._prefix}/")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Each library has errors of its own: what is no matter of names is the object store's."""
        try:
            yield
        except DependencyError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in LOCAL:
                raise
            said = (str(error).strip() or "no reason given").splitlines()[0][:200]
            raise DependencyError(
                "E-STORE-AWAY",
                self.url,
                f"the object store failed ({type(error).__name__}: {said})",
                "Everything finished is kept. Check the address, the network and the credentials (of S3: AWS_PROFILE, "
                "AWS_ENDPOINT_URL), then run the same command.",
            ) from error


def is_url(text: str) -> bool:
    """Whether a store's place is a URL; a path object has already made one slash of its two."""
    scheme, colon, rest = text.partition(":")
    return bool(colon) and len(scheme) > 1 and scheme.replace("+", "").isalnum() and rest.startswith("/")


def checked_url(url: str) -> str:
    """``url`` without a slash at its end; ConfigError unless it names a folder in a kind of object store we know."""
    parts = urlsplit(url)
    wrong = (
        f"expected one of {', '.join(f'{scheme}://' for scheme in LIBRARIES)}, or a folder"
        if parts.scheme not in LIBRARIES or not parts.netloc
        else "expected no user, password, query or fragment"
        if ("@" in parts.netloc and parts.scheme != "abfs")
        or ":" in parts.netloc
        or parts.query
        or parts.fragment
        else "expected no empty, '.' or '..' part"
        if parts.path.strip("/") and {"", ".", ".."} & set(parts.path.rstrip("/").split("/")[1:])
        else ""
    )
    if wrong:
        shown = f"{parts.scheme}://…" if "@" in url else url
        raise ConfigError("E-STORE-URL", shown, wrong, "Nothing was written. Set --store or DESCANT_STORE.")
    return url.rstrip("/")
