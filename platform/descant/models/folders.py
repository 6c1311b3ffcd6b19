"""A trained model as one folder that describes itself: settings, digest of the base, adapter, other tensors.

The base model is named, not copied; reading refuses a base whose bytes differ from those the adapter was
trained on.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from descant.adapters.library import load_adapter
from descant.artifacts.mirror import fetch
from descant.artifacts.models import AnyModel, FolderModel
from descant.artifacts.weights import check_safetensors, model_digest, weight_files
from descant.core.errors import ConfigError, IntegrityError
from descant.core.fingerprint import canonical

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

ADAPTER, BASE = "adapter", "base"
TRAINED = "settings.json"
"""The settings of a model that was trained on a task."""
HEAD = "head.safetensors"


def write_folder(
    folder: Path, name: str, settings: Mapping[str, Any], base: AnyModel, *, adapter: Path | None = None
) -> None:
    """Copy ``adapter`` into ``folder`` and write the settings file ``name`` last.

    A half-written folder has no settings and is refused. Raises IntegrityError or PolicyError for an adapter
    that is no safetensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete: dict[str, Any] = {**settings, "base": canonical(base.identity())}
    if adapter is not None:
        for path in weight_files(adapter):
            check_safetensors(path)
        shutil.copytree(adapter, folder / ADAPTER, dirs_exist_ok=True)
        complete["adapter_sha256"] = model_digest(folder / ADAPTER)
    draft = folder / f".{name}.draft"
    text = json.dumps(complete, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, folder / name)


def read_settings(folder: Path, name: str, what: str) -> dict[str, Any]:
    """The settings of ``folder``; ConfigError where it is no finished ``what``."""
    if not (fetch(folder) / name).is_file():
        raise ConfigError(
            "E-RET-FOLDER", str(folder), f"there is no {name}", f"Give the folder of a finished {what}."
        )
    settings: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return settings


def included_base(folder: Path, settings: Mapping[str, Any]) -> FolderModel | None:
    """The base that lies in ``folder`` itself, since a job made it; None where the base has a place of its own."""
    return FolderModel(path=str(folder / BASE)) if settings.get("has_base") else None


def read_trained(folder: Path, family: Literal["classifier", "causal"]) -> dict[str, Any]:
    """The settings of a model that was trained on a task.

    ConfigError where ``folder`` holds none, another family's, or one of a format not known here.
    """
    settings = read_settings(folder, TRAINED, "trained model")
    found = (settings.get("format"), settings.get("family"))
    if found != (1, family):
        raise ConfigError(
            "E-RET-FOLDER",
            str(folder),
            f"is of format {found[0]}, a {found[1]}; expected format 1, a {family}",
            "Nothing was loaded. Give the folder of such a model.",
        )
    return settings


def checked_adapter(folder: Path, settings: Mapping[str, Any], base: AnyModel) -> Path | None:
    """The adapter of ``folder``, None where it has none.

    Raises IntegrityError where ``base`` or the adapter is not the one that was saved.
    """
    base.check()
    check_same("base model", settings["base"], canonical(base.identity()))
    adapter = folder / ADAPTER if "adapter_sha256" in settings else None
    if adapter is not None:
        check_same(str(adapter), settings["adapter_sha256"], model_digest(adapter))
    return adapter


def check_same(where: str, expected: object, found: object) -> None:
    """Raise IntegrityError where a digest is not what was saved."""
    if expected != found:
        raise IntegrityError(
            "E-RET-DIGEST",
            where,
            f"found {found}, expected {expected}",
            "Nothing was loaded. Restore the files that this model was saved with.",
        )


def with_adapter(model: Any, adapter: Path | None, *, device: str) -> "Module":
    """``model`` with the weights of folder ``adapter``: a PEFT adapter, or a whole model's."""
    if adapter is None:
        ready: Module = model
    elif (adapter / "adapter_config.json").is_file():
        ready = load_adapter(model, adapter, device=device).eval()
    else:  # all weights were trained
        load_whole(model, whole_state(adapter))
        ready = model
    return ready


def load_whole(model: Any, state: "Mapping[str, Tensor]") -> None:
    """Load all of a model's weights; those tied to another's are stored once, under one name.

    Raises IntegrityError where the names differ.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    missing, unexpected = model.load_state_dict(state, strict=False)
    odd = sorted({*(set(missing) - tied), *unexpected})
    if odd:
        raise IntegrityError(
            "E-RET-DIGEST", odd[0], "is not in both the model and its saved weights", "Nothing was loaded."
        )


def whole_state(folder: Path) -> "dict[str, Tensor]":
    """All tensors of a folder's safetensors files, by name."""
    from safetensors.torch import load_file

    return {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}
