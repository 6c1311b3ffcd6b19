"""From a quantised GGUF file to a plain float32 model folder, made once in the store."""

import logging
import time
from pathlib import Path
from typing import Any

from descant.artifacts.commit import publish
from descant.artifacts.models import CONVERT_STAGE, CONVERT_VERSION, AnyModel, GgufModel
from descant.artifacts.store import Store, store_root
from descant.artifacts.weights import check_model_folder
from descant.core.errors import BusyError

log = logging.getLogger(__name__)

PART = "model"
WAIT_SECONDS = 900.0
"""How long to wait for another process that is converting the same model."""


def convert_if_missing(reference: AnyModel) -> None:
    """Make the float32 copy of a GGUF model where the store does not hold it; other references need none.

    Raises BusyError where another process takes longer than ``WAIT_SECONDS`` over it.
    """
    if not isinstance(reference, GgufModel):
        return
    deadline = time.monotonic() + WAIT_SECONDS
    while reference.converted() is None:
        try:
            _convert(reference)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def publish_converted(folder: Path, reference: GgufModel) -> dict[str, Any]:
    """Publish the part ``model`` under ``folder``; what it took, as facts."""
    started = time.monotonic()
    part = publish(
        folder, PART, lambda path: write_converted(reference, path), rows=1, check=check_model_folder
    )
    return {"bytes": part.bytes, "seconds": round(time.monotonic() - started, 1)}


def write_converted(reference: GgufModel, folder: Path) -> None:
    """Write the model, de-quantised to float32, and its tokenizer as a folder that needs no GGUF reader."""
    model, tokenizer = load_gguf(reference)
    model.hf_quantizer = None  # what says that it is quantised would be saved, and refused when loading
    model.is_quantized = False
    for owner, name in ((model.config, "quantization_config"), (model, "quantization_method")):
        if hasattr(owner, name):
            delattr(owner, name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_gguf(reference: GgufModel) -> tuple[Any, Any]:
    """The model as transformers reads it from GGUF, in float32 and evaluation mode, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = reference.gguf()
    where = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
    return model.eval(), AutoTokenizer.from_pretrained(path.parent, **where)


def _convert(reference: GgufModel) -> None:
    store, address = Store(store_root()), reference.fingerprint()
    spec = {"model": reference}
    with store.draft(CONVERT_STAGE, CONVERT_VERSION, address, "convert the model", spec, {}) as draft:
        if store.find(CONVERT_STAGE, address) is None:
            log.info("converting %s to float32", reference.file)
            facts = publish_converted(draft.folder, reference)
            draft.finish([PART], facts)
