"""Replacing the numbers of a loaded adapter in place, so that a compiled or served model goes on without a pause."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from peft.utils import load_peft_weights

from descant.adapters.svft.config import SvftConfig
from descant.adapters.svft.model import SvftModel, recipe_of


def hotswap_adapter(model: PeftModel, folder: str | Path, adapter_name: str = "default") -> None:
    """Copy the coefficients saved in ``folder`` over those of the adapter; nothing else changes, no tensor moves.

    Raises ValueError when the two have other positions or layers, IntegrityError when the saved one was trained on
    other weights or singular vectors. The adapter stays as it was then.
    """
    present, saved = model.peft_config[adapter_name], SvftConfig.from_pretrained(str(folder))
    assert isinstance(present, SvftConfig)
    if recipe_of(present) != recipe_of(saved) or present.gate != saved.gate:
        raise ValueError(
            f"{folder} cannot be swapped in: it has {recipe_of(saved)}, the model {recipe_of(present)}"
        )
    state = SvftModel._remap_adapter_state_dict_for_load(
        model, saved, adapter_name, load_peft_weights(str(folder), device="cpu")
    )
    parameters = {
        name: p for name, p in model.named_parameters() if f".{adapter_name}" in name and "svft_" in name
    }
    if state.keys() != parameters.keys():
        other = sorted(state.keys() ^ parameters.keys())
        raise ValueError(f"{folder} cannot be swapped in: it adapts other layers, such as {other[0]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])
