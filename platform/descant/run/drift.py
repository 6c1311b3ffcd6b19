"""Noticing that a half-done training would be left behind because its recipe was edited in between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descant.artifacts.bucket_results import pull_each
from descant.artifacts.manifest import MANIFEST
from descant.artifacts.mirror import mirror_of
from descant.artifacts.store import Store
from descant.core.errors import ConfigError
from descant.core.fingerprint import canonical
from descant.run.execute import DRAFT_NOTE
from descant.run.job import Recipe
from descant.run.plan import Plan
from descant.stages.train import WORKPLACE


@dataclass(frozen=True)
class Drift:
    """A training that was begun by the same recipe file with other settings, and not finished."""

    label: str
    """What the step is called."""
    unfinished: str
    """The address where its checkpoints are."""
    begun_anew: str
    """The address of the step as the recipe has it now."""
    changes: str
    """What changed, as ``key: old -> new``."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What a run that begins anew leaves on record."""
        return {
            "drift.unfinished": self.unfinished,
            "drift.begun_anew": self.begun_anew,
            "drift.changes": self.changes,
        }

    def refused(self, recipe: Recipe) -> ConfigError:
        """The error for somebody who did not say that this is meant."""
        return ConfigError(
            "E-RUN-DRIFT",
            f"{recipe.path} ({self.label})",
            f"an unfinished training of this recipe is at {self.unfinished}, since then changed: {self.changes}",
            "Nothing was started. Undo the change to resume it, or add --accept-drift to begin anew.",
        )


def find_drift(plan: Plan, recipe: Recipe, store: Store) -> Drift | None:
    """The unfinished checkpoints of this recipe file for a step whose settings were changed since.

    Nothing would be overwritten, since the changed step has another address; but hours of training would be left
    behind without a word.
    """
    for item in plan.missing:
        step = item.step
        pull_each(store.root, DRAFT_NOTE, step.stage.name)
        for note_path in sorted((store.root / step.stage.name).glob(f"*/{DRAFT_NOTE}")):
            folder = note_path.parent
            if folder.name == step.fingerprint or (folder / MANIFEST).exists():
                continue
            if not _has_checkpoints(folder / WORKPLACE / "checkpoints"):
                continue
            note = json.loads(note_path.read_text())
            if note["recipe"] != str(recipe.path.resolve()) or note["label"] != step.label:
                continue
            changes = differences(note["spec"], canonical(step.stage))
            return Drift(
                label=step.label,
                unfinished=f"{step.stage.name}/{folder.name}",
                begun_anew=f"{step.stage.name}/{step.fingerprint}",
                changes="; ".join(changes[:5]) or "an upstream step",
            )
    return None


def _has_checkpoints(folder: Path) -> bool:
    mirror = mirror_of(folder)
    return any(folder.glob("*") if mirror is None else mirror.bucket.folders(mirror.key(folder)))


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """``key: old -> new`` for every leaf in which two canonical specs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if old == new else [f"{prefix}: {old!r} -> {new!r}"]
