"""A trained language model as a plain folder for transformers: its adapter folded in, its new tokens in place."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from descant.core.errors import IntegrityError
from descant.models.causal import CausalSpec, load_causal
from descant.models.folders import read_trained
from descant.run.export_target import drafted, unknown_form

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = ("heat and light", "Why does the sky look blue? Gökyüzü neden mavi, आकाश नीला क्यों?", "water " * 200)
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2}
"""How far logits may lie from the model's, relative to the largest: merged weights round differently."""


def export_causal(folder: Path, target: Path, form: str) -> Path:
    """Write the language model in ``folder`` to ``target``, merged, and return that.

    Raises ConfigError for another form, a folder that holds none, or a method that cannot be merged, IntegrityError
    where the export, loaded again by transformers alone, does not give the model's tokens and logits.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if form != "merged":
        raise unknown_form(form, ["merged"])
    spec = CausalSpec.model_validate(read_trained(folder, "causal")["spec"])
    causal = load_causal(spec, folder=folder)
    expected = [_logits(causal.model, causal.tokenizer, text) for text in TEXTS]
    model: Any = causal.model
    with drafted(target) as draft:
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload(safe_merge=True)
        model.save_pretrained(draft)
        causal.tokenizer.save_pretrained(draft)
        again: Any = AutoModelForCausalLM.from_pretrained(draft, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(draft, local_files_only=True)
        for before, text in zip(expected, TEXTS, strict=True):
            _check_equal(before, _logits(again.eval(), tokenizer, text), TOLERANCES[spec.precision])
    return target


def _logits(model: Any, tokenizer: Any, text: str) -> "Tensor":
    """float32 [tokens, vocabulary]."""
    import torch

    ids = torch.tensor([tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]])
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0].float()
    return logits


def _check_equal(expected: "Tensor", found: "Tensor", tolerance: float) -> None:
    same_shape = expected.shape == found.shape
    difference = float((expected - found).abs().max() / expected.abs().max()) if same_shape else float("inf")
    if not difference <= tolerance:
        raise IntegrityError(
            "E-EXP-LOGITS",
            "merged",
            f"loaded again gives logits that differ by {difference:.2g}, rounding allows {tolerance:.0e}",
            "Nothing was written. Load the model with descant.run.registry instead.",
        )
