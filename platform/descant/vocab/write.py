"""An extended tokenizer as a folder that any version of transformers loads as it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from descant.vocab.extend import Description
from descant.vocab.sentencepiece_model import extended_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MODEL = "tokenizer.model"


def write_extended(
    tokenizer: "PreTrainedTokenizerFast",
    described: Description,
    folder: Path,
    *,
    base_model: bytes | None = None,
) -> None:
    """Write ``tokenizer`` with another ``tokenizer.json``, and ``base_model``, its ``tokenizer.model``, extended too.

    Names of special tokens, the chat template and the longest input stay. The class becomes the general one: those of
    single models build their pre-tokenizer anew, whatever the file says. No ``tokenizer.model`` is left that cuts
    otherwise than ``tokenizer.json``.
    """
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(described, ensure_ascii=False, indent=1), "utf-8")
    settings = folder / "tokenizer_config.json"
    values = json.loads(settings.read_text("utf-8"))
    values["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.write_text(json.dumps(values, ensure_ascii=False, indent=1, sort_keys=True), "utf-8")
    (folder / MODEL).unlink(missing_ok=True)
    model = extended_model(base_model, described) if base_model is not None else None
    if model is not None:
        (folder / MODEL).write_bytes(model)
