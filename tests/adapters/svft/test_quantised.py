"""SVFT over bitsandbytes' 8-bit and 4-bit weights."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from descant.adapters.svft import SvftConfig
from descant.adapters.svft.layer import SvftLinear
from descant.core.errors import ConfigError
from tests.adapters.quantised import REASON, load_quantised, write_tiny_llama
from tests.adapters.svft.models import output, trained

bitsandbytes = pytest.importorskip("bitsandbytes", reason=REASON)

BITS = pytest.mark.parametrize("bits", [8, 4])
BANDED: dict[str, Any] = {"pattern": "banded", "off_diagonals": 2, "target_modules": "all-linear"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("base")
    write_tiny_llama(written)
    return written


def adapted(folder: Path, bits: int, **settings: Any) -> Any:
    return get_peft_model(load_quantised(folder, bits), SvftConfig(**{**BANDED, **settings})).eval()


@BITS
@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_start_equals_the_quantised_base_bit_for_bit(
    folder: Path, bits: int, packs: bool, dtype: torch.dtype
) -> None:
    expected = output(load_quantised(folder, bits, packs=packs, dtype=dtype))
    model = get_peft_model(
        load_quantised(folder, bits, packs=packs, dtype=dtype), SvftConfig(**BANDED)
    ).eval()
    assert torch.equal(output(model), expected)


@BITS
def test_vectors_are_those_of_the_weight_that_the_base_multiplies_by(folder: Path, bits: int) -> None:
    model = adapted(folder, bits)
    for layer in (m for m in model.modules() if isinstance(m, SvftLinear)):
        basis = layer.basis
        weight_oi = (basis.u_or * basis.s_r) @ basis.v_ir.T
        by_base_oi = layer.base_layer(torch.eye(layer.in_features)).T
        assert (weight_oi - by_base_oi).norm() < 1e-3 * by_base_oi.norm()


@BITS
def test_coefficients_train_and_load_to_the_same_outputs(folder: Path, bits: int, tmp_path: Path) -> None:
    model = adapted(folder, bits)
    start = output(model).detach()
    losses = trained(model, steps=5, lr=1e-2)
    assert losses[-1] < losses[0] - 1
    with torch.no_grad():
        expected = output(model)
        assert not torch.allclose(expected, start, atol=0.1)
        with model.disable_adapter():
            assert torch.equal(output(model), output(load_quantised(folder, bits)))
        model.save_pretrained(tmp_path)
        again = PeftModel.from_pretrained(load_quantised(folder, bits), tmp_path)
        assert torch.equal(output(again), expected)


@BITS
def test_gradients_are_those_over_the_same_weights_unquantised(folder: Path, bits: int) -> None:
    """Where only the rounding of 8-bit inputs differs; nf4 computes with the weights as they are."""
    model = adapted(folder, bits)
    layer = next(m for m in model.modules() if isinstance(m, SvftLinear))
    full = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
    full.weight.data = layer.get_base_weight().float()
    other = SvftLinear(full, "default", SvftConfig(**BANDED, form="beside"))
    x_ti = torch.randn(12, layer.in_features, generator=torch.Generator().manual_seed(0))
    for each in (layer, other):
        each(x_ti).pow(2).sum().backward()
    ours, expected = (each.svft_coefficients["default"].grad for each in (layer, other))
    assert ours is not None
    assert expected is not None
    assert (ours - expected).norm() < (0.03 if bits == 8 else 1e-4) * expected.norm()


@BITS
def test_merging_rounds_anew_and_says_so_as_for_lora(folder: Path, bits: int) -> None:
    """The rounding of the weights is all that merging costs: as far from the unmerged outputs as LoRA's."""
    errors = []
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    for config in (SvftConfig(**BANDED, start="published"), lora):
        model = get_peft_model(load_quantised(folder, bits), config).eval()
        with torch.no_grad():
            expected = output(model)
            with pytest.warns(UserWarning, match="rounding|rounds the weight"):
                merged = model.merge_and_unload(safe_merge=True)
            assert type(merged.model.layers[0].mlp.up_proj).__module__.startswith("bitsandbytes")
            errors.append(float((output(merged) - expected).norm() / expected.norm()))
    assert errors[0] < 2 * errors[1], errors
    assert errors[0] < (0.1 if bits == 8 else 0.6), errors


@BITS
def test_merging_can_be_undone_to_the_rounding(folder: Path, bits: int) -> None:
    model = adapted(folder, bits, start="published")
    with torch.no_grad():
        expected = output(model)
        with pytest.warns(UserWarning, match="rounds the weight"):
            model.merge_adapter()
        model.unmerge_adapter()
        assert (output(model) - expected).norm() < (0.1 if bits == 8 else 0.6) * expected.norm()


@BITS
@pytest.mark.parametrize(
    "settings", [{"execution": "factored"}, {"form": "composed"}, {"form": "output_side"}], ids=str
)
def test_ways_to_compute_that_need_the_weight_itself_are_refused(
    folder: Path, bits: int, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"quantised (bnb {bits}bit)")) as e:
        adapted(folder, bits, **settings)
    assert e.value.exit_code == 2


def test_several_adapters_share_the_quantised_base(folder: Path) -> None:
    model = adapted(folder, 4, start="published")
    model.add_adapter("second", SvftConfig(**BANDED, start="published", seed=1))
    with torch.no_grad():
        first = output(model)
        model.set_adapter("second")
        second = output(model)
        mixed = model(input_ids=torch.arange(24).reshape(2, 12) % 20 + 5, adapter_names=["default", "second"])
    torch.testing.assert_close(mixed.logits[0], first[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed.logits[1], second[1], atol=1e-5, rtol=1e-5)


def test_weight_that_the_cpu_has_packed_is_refused(folder: Path) -> None:
    """Its dequantisation gives other numbers then: vectors of another weight, or a wrong merge."""
    base = load_quantised(folder, 4, packs=True)
    fresh = copy.deepcopy(base)
    with torch.no_grad():
        output(base)
    if not base.model.layers[0].mlp.up_proj.weight.quant_state.__dict__.get("packing_format_for_cpu"):
        pytest.skip("bitsandbytes packs no weights on this CPU")
    with pytest.raises(ConfigError, match="packed the weight for this CPU"):
        get_peft_model(base, SvftConfig(**BANDED))
    model = get_peft_model(fresh, SvftConfig(**BANDED)).eval()
    with torch.no_grad():
        output(model)
    with pytest.raises(ConfigError, match="packed the weight for this CPU"):
        model.merge_and_unload()
