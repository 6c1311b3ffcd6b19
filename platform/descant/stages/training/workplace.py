"""A training's folder: what it holds, and how workers and their starter see it from machines that share no disk.

In a store on a URL what one of them writes there reaches the others by way of the bucket. Of an ordinary store all of
them see the folder, and nothing here does anything beyond looking at it.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from descant.artifacts.commit import files_of
from descant.artifacts.mirror import drop, mirror_of, place_file, pull, push
from descant.core.fingerprint import file_digest
from descant.stages.training.step_log import StepReport, read_steps

STEPS, STOP, CHECKPOINTS, RAY = "steps.jsonl", "stop", "checkpoints", "ray"
"""What a training's folder holds beside what the objective saves."""
LOOK_SECONDS = 5.0
"""Between two looks into the bucket, and between two copies of a growing log."""


class Workplace:
    """A training's folder, as one of its workers sees it."""

    def __init__(self, folder: Path, rows: Path) -> None:
        self.folder, self._given = folder, {STOP, CHECKPOINTS, RAY, rows.name}
        self._looked = self._copied = time.monotonic()

    def stop_asked(self) -> bool:
        """Whether somebody wants the training to save and end."""
        if (self.folder / STOP).exists():
            return True
        mirror = mirror_of(self.folder)
        if mirror is None or time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        return mirror.bucket.read(mirror.key(self.folder / STOP)) is not None

    def log_grew(self) -> None:
        """Let who follows the training see the log, if the last time was a while ago."""
        if time.monotonic() - self._copied >= LOOK_SECONDS:
            push(self.folder / STEPS)
            self._copied = time.monotonic()

    def share_results(self) -> None:
        """Let the others have what was saved at the end."""
        if mirror_of(self.folder) is not None:
            for path in self.folder.iterdir():
                if path.name not in self._given and not path.name.startswith("."):
                    push(path)


class Followed:
    """A training's folder, as the process that started it sees it."""

    def __init__(self, folder: Path, rows: Path) -> None:
        self.folder, self._given = folder, {STOP, CHECKPOINTS, RAY, rows.name}
        self._mirror, self._looked = mirror_of(folder), 0.0
        self._log = folder / STEPS if self._mirror is None else folder / f".{STEPS}.followed"
        (folder / STOP).unlink(missing_ok=True)
        drop(folder / STOP)
        if rows.is_relative_to(folder):
            push(rows)

    def steps(self, *, at_end: bool) -> list[StepReport]:
        """The figures of all steps so far, or nearly so unless ``at_end``."""
        if self._mirror is not None and (at_end or time.monotonic() - self._looked > LOOK_SECONDS):
            place_file(self._log, self._mirror.bucket.read(self._mirror.key(self.folder / STEPS)) or b"")
            self._looked = time.monotonic()
        return read_steps(self._log)

    def ask_to_stop(self) -> None:
        """Have the workers save and end."""
        (self.folder / STOP).touch()
        push(self.folder / STOP)

    def take_results(self) -> None:
        """Have here what the first worker saved at the end."""
        if self._mirror is not None:
            here = self._mirror.key(self.folder)
            names = {
                key.removeprefix(f"{here}/").partition("/")[0] for key in self._mirror.bucket.sizes(here)
            }
            for name in names - self._given:
                pull(self.folder / name)


def share_files(folder: Path) -> Mapping[str, str]:
    """Bring the files that the workers left in ``folder`` on other machines into the bucket: their sha256 by name.

    Nothing where all see one folder. Every worker must call this.
    """
    mirror = mirror_of(folder)
    if mirror is None:
        return {}
    machines: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(machines, mirror.machine)
    digests: dict[str, str] = {}
    if machines.index(mirror.machine) == dist.get_rank():  # the first of its machine
        digests = {name: file_digest(path) for name, path in files_of(folder).items()}
        push(folder)
    all_digests: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_digests, digests)
    return {name: digest for one in all_digests for name, digest in one.items()}
