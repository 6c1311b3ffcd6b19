"""The methods that say they work over a quantised base do: they start, train, save and load there."""

from pathlib import Path

import pytest
import torch

from descant.adapters import Method
from descant.adapters.library import PeftMethod, load_adapter
from descant.testing.method_suite import output, train_a_little, trainable
from tests.adapters.quantised import REASON, load_quantised, write_tiny_llama
from tests.adapters.tiny import SPECS, kind_of

pytest.importorskip("bitsandbytes", reason=REASON)

QUANTISED = [s for s in SPECS if isinstance(s, PeftMethod) and s.quantised]
IDS = torch.arange(24).reshape(2, 12) % 20 + 5
TOKENS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
ROUNDING = 0.1
"""The largest logit is about 3; shira multiplies by the weight itself, without the rounding of inputs to 8 bits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("base")
    write_tiny_llama(written)
    return written


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("method", QUANTISED, ids=kind_of)
def test_method_starts_trains_and_reloads_over_a_quantised_base(
    method: Method, bits: int, folder: Path, tmp_path: Path
) -> None:
    if bits == 8 and kind_of(method) == "dora":
        pytest.skip("PEFT 0.21 loses the scales of 8-bit weights when it reads them on a CPU")
    base = load_quantised(folder, bits)
    with torch.no_grad():
        before = output(base, TOKENS)
    model = method.attach(base, seed=0, batches=[TOKENS] * 4).eval()
    with torch.no_grad():
        start = output(model, TOKENS)
    if method.starts_at_base:
        assert torch.allclose(start, before, atol=ROUNDING)
    first = trainable(model)
    train_a_little(model, TOKENS)
    last = trainable(model)
    assert all(not torch.equal(first[name], last[name]) for name in first)
    with torch.no_grad():
        expected = output(model, TOKENS)
    assert not torch.allclose(expected[:, -12:], start[:, -12:], atol=1e-2)
    method.save(model, tmp_path, last)
    with torch.no_grad():
        assert torch.equal(output(load_adapter(load_quantised(folder, bits), tmp_path), TOKENS), expected)
