"""The commit protocol: how bytes become part of a result, so that a kill at any moment loses at most the last part.

    tmp/<attempt>/<name>          write, flush, fsync
    read back                     digest every file, run the caller's check
    <name>-<digest>[.suffix]      rename: content-named, so two attempts never overwrite each other
    entries/<name>.json           create-exclusive: the first attempt wins, an equal second one is a no-op
    manifest.json                 once every part has its entry

In a store on a URL the bucket gets the file, then the entry by a conditional write: it decides who was first.

Readers look only at what the manifest lists. What a dead attempt left in ``tmp`` or unlisted is swept when the
manifest is written.
"""

import errno
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from descant.artifacts.manifest import Part, RejectedRow
from descant.artifacts.mirror import mirror_of, pull, push
from descant.artifacts.paths import inside
from descant.core.errors import IntegrityError, ResourceError
from descant.core.fingerprint import file_digest, folder_digest
from descant.core.records import Rejected

log = logging.getLogger(__name__)

ENTRIES = "entries"
TMP = "tmp"


def publish(
    folder: Path,
    name: str,
    write: Callable[[Path], object],
    *,
    rows: int | Callable[[], int],
    suffix: str = "",
    check: Callable[[Path], object] | None = None,
    rejected: Sequence[Rejected] = (),
    facts: Mapping[str, Any] | None = None,
) -> Part:
    """Commit one part under ``folder`` and return its entry; safe to call from any process, any number of times.

    ``write`` gets a path and creates a file or a folder there; ``check`` gets the same path after the bytes are on
    disk and raises if they are not what was meant. ``rows``, ``rejected`` and ``facts`` are looked at after ``write``,
    so that a stream may be counted as it is written. Raises IntegrityError when another attempt has published different
    bytes under the same name, ResourceError when the disk is full or not writable.
    """
    attempt = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with storage_errors(folder):
        workplace = inside(folder, TMP, attempt)
        workplace.mkdir(parents=True)
        try:
            draft = inside(workplace, name + suffix)
            write(draft)
            count = rows if isinstance(rows, int) else rows()
            part = _describe(draft, name, suffix, count, rejected, facts or {})
            if check is not None:
                check(draft)
            _move(draft, inside(folder, part.path), part.files)
            push(inside(folder, part.path))
            return _enter(folder, workplace, part)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def published(folder: Path, name: str) -> Part | None:
    """The entry of a part, or None when it is not published."""
    path = inside(folder, ENTRIES, f"{name}.json")
    if not path.exists() and not pull(path):
        return None
    return Part.model_validate_json(path.read_text("utf-8"))


def published_here(folder: Path) -> set[str]:
    """Names of the parts whose entries are on this machine's disk."""
    return {path.stem for path in inside(folder, ENTRIES).glob("*.json")}


def write_durably(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step that survives a power cut."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_of(path: Path) -> dict[str, Path]:
    """``{"": path}`` for a file; every file by its relative name for a folder."""
    if path.is_file():
        return {"": path}
    return {str(p.relative_to(path)): p for p in sorted(path.rglob("*")) if p.is_file()}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's storage errors into ResourceError with what is needed and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(path).free if path.exists() else 0
            problem = f"the disk is full ({free:,} bytes free)"
            remedy = "Finished parts are intact. Free space and run the same command."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            problem, remedy = "not writable", "Nothing was changed. Check the permissions of the store."
        elif error.errno == errno.EIO:
            problem = "the disk reported an I/O error"
            remedy = "The part was not published. Check the disk and run the same command."
        else:
            raise
        raise ResourceError("E-RES-STORE", str(error.filename or path), problem, remedy) from error


def _describe(
    draft: Path, name: str, suffix: str, rows: int, rejected: Sequence[Rejected], facts: Mapping[str, Any]
) -> Part:
    files = files_of(draft)
    for path in files.values():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    digests = {relative: file_digest(path) for relative, path in files.items()}
    digest = folder_digest(digests)
    return Part(
        name=name,
        path=f"{name}-{digest[:10]}{suffix}",
        files=digests,
        sha256=digest,
        bytes=sum(path.stat().st_size for path in files.values()),
        rows=rows,
        rejected=tuple(RejectedRow(id=r.id, where=r.where, reason=r.reason) for r in rejected),
        facts=dict(facts),
    )


def _move(draft: Path, target: Path, digests: Mapping[str, str]) -> None:
    if target.exists():  # left by an attempt that died before its entry, or by a twin
        if {relative: file_digest(path) for relative, path in files_of(target).items()} == digests:
            return
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    draft.rename(target)
    sync_folder(target.parent)


def _enter(folder: Path, workplace: Path, part: Part) -> Part:
    entries = inside(folder, ENTRIES)
    entries.mkdir(exist_ok=True)
    temporary, entry = workplace / "entry.json", inside(entries, f"{part.name}.json")
    write_durably(temporary, json.dumps(part.model_dump(mode="json"), indent=1, sort_keys=True))
    mirror = mirror_of(folder)
    if mirror is not None and not mirror.bucket.create(mirror.key(entry), temporary.read_bytes()):
        pull(entry)
    try:
        os.link(temporary, entry)
    except FileExistsError:
        first = published(folder, part.name)
        if first is None or first.sha256 != part.sha256:
            raise IntegrityError(
                "E-ART-CONFLICT",
                f"{folder}/{part.name}",
                f"already published with digest {first.sha256[:12] if first else '?'}, this attempt gives "
                f"{part.sha256[:12]}",
                "The first one was kept. The computation is not deterministic here: compare both machines.",
            ) from None
        log.info("%s is already published", part.name)
        return first
    sync_folder(entries)
    return part
