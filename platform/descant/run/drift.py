"""Refusing to leave a half-done training behind because its recipe was edited in between."""

import json
from typing import Any

from descant.artifacts.manifest import MANIFEST
from descant.artifacts.store import Store
from descant.core.errors import ConfigError
from descant.core.fingerprint import canonical
from descant.run.job import Recipe
from descant.run.plan import Plan
from descant.stages.train import WORKPLACE


def refuse_drift(plan: Plan, recipe: Recipe, store: Store) -> None:
    """Raise ConfigError when the same recipe file has unfinished checkpoints of a step whose settings were changed.

    Nothing would be overwritten, since the changed step has another address; but hours of training would be left
    behind without a word.
    """
    for item in plan.missing:
        step = item.step
        for note_path in sorted((store.root / step.stage.name).glob("*/draft.json")):
            folder = note_path.parent
            if folder.name == step.fingerprint or (folder / MANIFEST).exists():
                continue
            if not any((folder / WORKPLACE / "checkpoints").glob("*")):
                continue
            note = json.loads(note_path.read_text())
            if note["recipe"] != str(recipe.path.resolve()) or note["label"] != step.label:
                continue
            changes = differences(note["spec"], canonical(step.stage))
            shown = "; ".join(changes[:5]) or "an upstream step"
            raise ConfigError(
                "E-RUN-DRIFT",
                f"{recipe.path} ({step.label})",
                f"an unfinished training of this recipe is at {step.stage.name}/{folder.name}, since then "
                f"changed: {shown}",
                "Nothing was started. Undo the change to resume it, or add --accept-drift to begin anew.",
            )


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
