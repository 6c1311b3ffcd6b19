"""A trained model as one folder: ``settings.json``, ``adapter/``, a classifier's head, new tokens with their rows.

See ``folders`` for what is checked when it is loaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descant.core.fingerprint import file_digest
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.classifier import ClassifierSpec
from descant.models.folders import HEAD, TRAINED, read_settings, read_trained, write_folder
from descant.models.new_rows import NewRows, write_new_rows

if TYPE_CHECKING:
    from torch import Tensor

    from descant.models.classify import Classifier


def save_trained(
    folder: Path,
    spec: ClassifierSpec | CausalSpec,
    *,
    adapter: Path | None = None,
    head: "Mapping[str, Tensor] | None" = None,
    labels: Sequence[str] = (),
    new: NewRows | None = None,
) -> None:
    """Write ``folder``, whose settings come last, so that a half-written one is refused.

    ``head`` holds a classifier's ``weight`` and ``bias``, ``labels`` the names of its logits; ``new`` the tokens that
    the base lacks. Raises IntegrityError or PolicyError for an adapter that is no safetensors.
    """
    is_classifier = isinstance(spec, ClassifierSpec)
    if is_classifier != (head is not None and len(labels) == len(head["bias"])):
        raise ValueError("a classifier has a head with one logit per label, a language model has none")
    settings: dict[str, Any] = {
        "format": 1,
        "family": "classifier" if is_classifier else "causal",
        "spec": spec.model_dump(),
        "labels": list(labels),
    }
    if new is not None:
        settings["extension"] = write_new_rows(folder, new)
    if head is not None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in head.items()}, folder / HEAD)
        settings["head_sha256"] = file_digest(folder / HEAD)
    write_folder(folder, TRAINED, settings, spec.model, adapter=adapter)


def load_trained(folder: Path, *, device: str = "cpu") -> "Classifier | CausalModel":
    """The model of ``folder`` on ``device``, as its settings say.

    Raises ConfigError where ``folder`` is none, IntegrityError where base, adapter or head is not what was
    saved, and whatever loading the base raises.
    """
    settings = read_settings(folder, TRAINED, "trained model")
    if settings["family"] == "causal":
        return load_causal(CausalSpec.model_validate(settings["spec"]), folder=folder, device=device)
    from descant.models.classify import load_classifier

    spec = ClassifierSpec.model_validate(settings["spec"])
    return load_classifier(
        spec, len(read_trained(folder, "classifier")["labels"]), folder=folder, device=device
    )
