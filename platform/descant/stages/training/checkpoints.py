"""Checkpoints of a training: which folder is whole, which one to resume from, which ones to delete.

    checkpoints/step-00000050-3f9a0c1b/     a new id for every save, never written twice
        state/ rng-0.json rng-1.json        DeepSpeed's shards and every worker's random state
        manifest.json                       sha256 of every file, written last
    checkpoints/saved.json                  that a save succeeded once: from then on step 0 is never an answer

The files are pickles to torch, so nothing is loaded that the manifest does not vouch for.
``ray.train.Checkpoint`` is not used: Ray's ``checkpoint_manager_snapshot.json`` is written in place and stops
the run when a kill cuts it, and a registered folder is trusted even when its files are gone. All workers see
the folder (it is the run's storage path), and resuming means the newest folder whose manifest holds.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from descant.artifacts.commit import files_of, storage_errors, sync_folder, write_durably
from descant.artifacts.mirror import drop, mirror_of, pull_missing, push
from descant.core.errors import IntegrityError
from descant.core.fingerprint import file_digest
from descant.core.spec import Spec

MANIFEST = "manifest.json"
SAVED = "saved.json"


class CheckpointManifest(Spec):
    """What a checkpoint is a state of, and the bytes it consists of."""

    step: int
    """Optimiser steps done; also the whole data position."""
    recipe: str
    """Fingerprint of everything that changes numbers: settings, encoder and rows."""
    workers: int
    """Workers whose states are inside."""
    zero: int
    """ZeRO stage of the shards."""
    versions: Mapping[str, str]
    """Versions of the libraries that wrote it."""
    files: Mapping[str, str] = {}
    """sha256 of every other file, by relative name."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint."""

    folder: Path
    manifest: CheckpointManifest


@dataclass(frozen=True)
class Skipped:
    """A checkpoint folder that was passed over, and why."""

    name: str
    reason: str


def new_checkpoint(root: Path, step: int) -> Path:
    """An empty folder for the state after ``step`` steps, with an id of its own."""
    with storage_errors(root):
        folder = root / f"step-{step:08d}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return folder


def seal(folder: Path, manifest: CheckpointManifest, elsewhere: Mapping[str, str]) -> Checkpoint:
    """Make the files in ``folder`` durable and a checkpoint: the manifest comes last.

    ``elsewhere`` are the sha256 of files that other machines brought into the bucket.
    """
    with storage_errors(folder):
        files = files_of(folder)
        for path in files.values():
            _sync(path)
        digests = {**elsewhere, **{name: file_digest(path) for name, path in files.items()}}
        sealed = manifest.model_copy(update={"files": digests})
        for inner in sorted({path.parent for path in files.values()}):
            sync_folder(inner)
        write_durably(folder / MANIFEST, sealed.model_dump_json(indent=1))
        write_durably(folder.parent / SAVED, json.dumps({"step": sealed.step, "name": folder.name}))
        push(folder / MANIFEST)
        push(folder.parent / SAVED)
        return Checkpoint(folder, sealed)


def keep_only(root: Path, names: Sequence[str]) -> None:
    """Delete every checkpoint folder that is not named, unfinished and damaged ones too."""
    with storage_errors(root):
        for folder in _folders(root):
            if folder.name not in names:
                drop(folder / MANIFEST)
                drop(folder)
                shutil.rmtree(folder, ignore_errors=True)


def forget(root: Path, names: Sequence[str]) -> None:
    """Delete what this machine alone sees of checkpoints that are not named; nothing for ordinary stores."""
    if mirror_of(root) is not None:
        for folder in root.glob("step-*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)


def newest_valid(root: Path, recipe: str) -> tuple[Checkpoint | None, tuple[Skipped, ...]]:
    """The newest checkpoint of ``recipe`` whose files are all there and unchanged, and what was passed over.

    None means that nothing was ever saved. Raises IntegrityError when something was saved and no checkpoint
    holds.
    """
    skipped: list[Skipped] = []
    for folder in _folders(root):
        found = _read(folder, recipe)
        if isinstance(found, Checkpoint):
            return found, tuple(skipped)
        skipped.append(Skipped(folder.name, found))
    pull_missing(root / SAVED)
    if (root / SAVED).exists() or any((folder / MANIFEST).exists() for folder in _folders(root)):
        listed = "; ".join(f"{s.name} {s.reason}" for s in skipped) or "all folders are gone"
        raise IntegrityError(
            "E-TRN-RESUME",
            str(root),
            f"steps were saved but no checkpoint is whole: {listed}",
            "Nothing was changed. Restore the folder, or delete it to train from the start.",
        )
    return None, tuple(skipped)


def _read(folder: Path, recipe: str) -> Checkpoint | str:
    """The checkpoint in ``folder``, or why there is none."""
    pull_missing(folder)
    try:
        manifest = CheckpointManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return "was never finished (no manifest)"
    except ValidationError:
        return "has an unreadable manifest"
    if manifest.recipe != recipe:
        return f"belongs to another recipe ({manifest.recipe}, not {recipe})"
    files = {name: path for name, path in files_of(folder).items() if name != MANIFEST}
    if missing := sorted(set(manifest.files) - set(files)):
        return f"lacks {missing[0]}"
    if unlisted := sorted(set(files) - set(manifest.files)):
        return f"holds {unlisted[0]}, which its manifest does not list"
    for name, digest in manifest.files.items():
        if file_digest(files[name]) != digest:
            return f"holds a changed {name}"
    return Checkpoint(folder, manifest)


def _folders(root: Path) -> Iterator[Path]:
    """All checkpoint folders, newest step first."""
    mirror = mirror_of(root)
    names = {path.name for path in root.glob("step-*")}
    if mirror is not None:
        names |= {name for name in mirror.bucket.folders(mirror.key(root)) if name.startswith("step-")}
    return iter([root / name for name in sorted(names, reverse=True)])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
