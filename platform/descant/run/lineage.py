"""What a version was made from, as tags: what its folder says of itself, and what a study knows beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from descant.artifacts.models import AnyModel, StoredModel
from descant.artifacts.weights import model_digest, pinned_files
from descant.core.errors import ConfigError
from descant.core.fingerprint import canonical, file_digest, folder_digest
from descant.models.folders import included_base
from descant.run.loggable import without_secrets
from descant.run.versions import KINDS, RETRIEVER, check_name

SETTINGS = {"encoder.json": "encoder", "settings.json": "spec"}
"""The settings file of a retriever and of a model trained on a task, and where each names its base."""


def lineage_of(folder: Path) -> dict[str, str]:
    """What a model's folder says: its kind, base model, tokenizer and adapter; ConfigError if it is no model."""
    found = [name for name in SETTINGS if (folder / name).is_file()]
    if not found:
        raise ConfigError(
            "E-REG-FOLDER",
            str(folder),
            f"has neither {' nor '.join(SETTINGS)}: not a trained model",
            "Nothing was registered.",
        )
    settings = json.loads((folder / found[0]).read_text("utf-8"))
    kind = RETRIEVER if found[0] == "encoder.json" else settings.get("family")
    if kind not in KINDS:
        raise ConfigError(
            "E-REG-FOLDER",
            str(folder / found[0]),
            f"is of the family {kind!r}, expected one of {KINDS}",
            "Nothing was registered.",
        )
    lineage = {"kind": str(kind), "base": json.dumps(settings["base"], sort_keys=True)}
    lineage |= {name: settings[name] for name in ("adapter_sha256", "head_sha256") if name in settings}
    if settings.get("labels"):
        lineage["labels"] = json.dumps(settings["labels"], ensure_ascii=False)
    named: AnyModel = TypeAdapter(AnyModel).validate_python(settings[SETTINGS[found[0]]]["model"])
    model = included_base(folder, settings) or named
    if isinstance(model, StoredModel):
        base = model.locate()
        texts = {p.name: file_digest(p) for p in pinned_files(base) if _is_of_tokenizer(p.name)}
        lineage |= {"base_sha256": model_digest(base), "tokenizer_sha256": folder_digest(texts)}
    return lineage


def study_lineage(
    study: str,
    task: str,
    method: str,
    setting: Mapping[str, Any],
    seeds: Sequence[int],
    data: Mapping[str, str],
) -> dict[str, str]:
    """What a study knows of a model it made: its fingerprint, task, method, best setting and final seeds.

    ``data`` holds a digest for each part of the data, by name.
    """
    return {
        "study": study,
        "task": task,
        "method": method,
        "setting": json.dumps(without_secrets(canonical(dict(setting))), sort_keys=True, ensure_ascii=False),
        "seeds": ", ".join(map(str, seeds)),
        **{f"data.{name}": digest for name, digest in data.items()},
    }


def task_model_name(study: str, task: str) -> str:
    """The registered model that holds a study's versions for ``task``; ConfigError where MLflow takes no such name."""
    return check_name(f"{study}-{task}")


def _is_of_tokenizer(name: str) -> bool:
    return name != "config.json" and not name.endswith((".safetensors", ".index.json"))
