"""SVFT does in PEFT what LoRA does: several adapters, switching, merging, saving, loading, refusing."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import PeftType
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from descant.adapters.patterns import num_positions
from descant.adapters.svft import SvftConfig, hotswap_adapter
from descant.adapters.svft.basis import Basis, compute_basis, weight_digest
from descant.adapters.svft.layer import SvftLinear
from descant.adapters.svft.register import register
from descant.adapters.svft.source import bases_from, write_basis
from descant.core.errors import ConfigError, IntegrityError
from tests.adapters.svft.models import output, tiny_bert, tiny_gpt2, tiny_llama, trained

BANDED: dict[str, Any] = {"pattern": "banded", "off_diagonals": 2, "target_modules": "all-linear"}
MODELS = (tiny_bert, tiny_gpt2, tiny_llama)


def adapted(base: PreTrainedModel, **settings: Any) -> Any:
    return get_peft_model(copy.deepcopy(base), SvftConfig(**{**BANDED, **settings}))


def trained_adapter(base: PreTrainedModel, **settings: Any) -> Any:
    model = adapted(base, **settings)
    trained(model)
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trained_adapter(tiny_bert()).save_pretrained(tmp_path)
    return tmp_path


def test_registering_twice_changes_nothing() -> None:
    before = list(PeftType)
    register()
    assert list(PeftType) == before
    assert PeftType("SVFT") is PeftType["SVFT"] is PeftType.SVFT  # type: ignore[attr-defined]
    assert PeftType.SVFT == "SVFT"  # type: ignore[attr-defined]


def test_adapter_loads_in_a_fresh_process_after_one_import(saved: Path) -> None:
    code = (
        "import descant.adapters.svft\n"
        "from peft import PeftModel, AutoPeftModel, PeftConfig\n"
        "from tests.adapters.svft.models import tiny_bert, output\n"
        f"model = PeftModel.from_pretrained(tiny_bert(), {str(saved)!r})\n"
        "print(PeftConfig.from_pretrained("
        + repr(str(saved))
        + ").peft_type.value, float(output(model).sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    kind, total = done.stdout.split() or [done.stderr, "nan"]
    assert kind == "SVFT"
    expected = float(output(PeftModel.from_pretrained(tiny_bert(), saved)).sum())
    assert float(total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", MODELS)
def test_saved_adapter_holds_coefficients_only_and_loads_to_the_same_outputs(
    make: Callable[[], PreTrainedModel], tmp_path: Path
) -> None:
    model = trained_adapter(make(), pattern="random")
    model.save_pretrained(tmp_path)
    expected = output(model)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    numbers = {name: t for name, t in tensors.items() if name.endswith("svft_coefficients")}
    assert {name.rsplit(".", 1)[-1] for name in tensors.keys() - numbers} == {"svft_sha256", "svft_probes"}
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(t.numel() for t in numbers.values()) == counted
    again = PeftModel.from_pretrained(make(), tmp_path)
    assert torch.equal(output(again), expected)
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(output(again.merge_and_unload()), expected, atol=1e-5, rtol=1e-5)


def test_loading_with_little_memory_gives_the_same(saved: Path) -> None:
    expected = output(PeftModel.from_pretrained(tiny_bert(), saved))
    assert torch.equal(
        output(PeftModel.from_pretrained(tiny_bert(), saved, low_cpu_mem_usage=True)), expected
    )


def test_half_precision_adapter_keeps_float32_coefficients_through_a_file(tmp_path: Path) -> None:
    model = trained_adapter(tiny_llama().bfloat16())
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama().bfloat16(), tmp_path)
    assert torch.equal(output(again), output(model))
    full = PeftModel.from_pretrained(
        tiny_llama().bfloat16().float(), tmp_path
    )  # the same values in another type
    assert (output(full) - output(model)).norm() < 0.1 * output(model).norm()


def test_several_adapters_switch_disable_and_delete() -> None:
    base = tiny_bert()
    model = trained_adapter(base)
    first = output(model)
    model.add_adapter("second", SvftConfig(**{**BANDED, "pattern": "random", "rank": 7}))
    model.set_adapter("second")
    assert torch.equal(output(model), output(base))
    trained(model)
    second = output(model.eval())
    assert not torch.allclose(first, second)
    model.set_adapter("default")
    assert torch.equal(output(model), first)
    with model.disable_adapter():
        assert torch.equal(output(model), output(base))
    model.base_model.set_adapter(["default", "second"])
    both = output(model)
    deltas = [layer.get_delta_weight(n) for layer in _layers(model)[:1] for n in ("default", "second")]
    merged = copy.deepcopy(model).merge_and_unload(adapter_names=["default", "second"])
    torch.testing.assert_close(output(merged), both, atol=1e-5, rtol=1e-5)
    assert all(delta.norm() > 0 for delta in deltas)
    model.delete_adapter("default")
    model.set_adapter("second")
    torch.testing.assert_close(output(model), second)


@pytest.mark.parametrize("execution", ["exact", "factored"])
@pytest.mark.parametrize("make", MODELS)
def test_merging_and_unmerging_restores_both(make: Callable[[], PreTrainedModel], execution: str) -> None:
    model = trained_adapter(make(), execution=execution)
    expected = output(model)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(output(model), expected, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    torch.testing.assert_close(output(model), expected, atol=1e-5, rtol=1e-5)
    with model.disable_adapter():
        torch.testing.assert_close(output(model), output(make()), atol=1e-5, rtol=1e-5)


def test_merging_numbers_that_are_not_finite_is_refused() -> None:
    model = trained_adapter(tiny_bert())
    with torch.no_grad():
        _layers(model)[2].svft_coefficients["default"][0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        model.merge_adapter(safe_merge=True)


def test_weighted_adapter_is_the_weighted_sum_of_the_updates() -> None:
    model = trained_adapter(tiny_bert())
    model.add_adapter("second", SvftConfig(**{**BANDED, "start": "published"}))
    model.base_model.add_weighted_adapter(["default", "second"], [0.7, -0.2], "mixed")
    for layer in _layers(model):
        expected = 0.7 * layer.get_delta_weight("default") - 0.2 * layer.get_delta_weight("second")
        torch.testing.assert_close(layer.get_delta_weight("mixed"), expected, atol=1e-6, rtol=1e-5)
    model.add_adapter("other", SvftConfig(**{**BANDED, "off_diagonals": 1}))
    with pytest.raises(ValueError, match="one pattern, off_diagonals, rank and seed"):
        model.base_model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "wrong")


def test_scale_multiplies_the_update() -> None:
    model = trained_adapter(tiny_bert())
    layer = _layers(model)[0]
    once = layer.get_delta_weight("default")
    layer.set_scale("default", 2.0)
    torch.testing.assert_close(layer.get_delta_weight("default"), 2 * once)
    layer.scale_layer(3.0)
    layer.unscale_layer(2.0)
    torch.testing.assert_close(layer.get_delta_weight("default"), 3 * once)
    layer.unscale_layer()
    torch.testing.assert_close(layer.get_delta_weight("default"), once)


def test_adapter_can_be_swapped_in_place(tmp_path: Path) -> None:
    first, second = trained_adapter(tiny_bert()), trained_adapter(tiny_bert(), start="published", seed=5)
    first.save_pretrained(tmp_path / "first")
    second.save_pretrained(tmp_path / "second")
    model = PeftModel.from_pretrained(tiny_bert(), tmp_path / "first")
    model.load_adapter(tmp_path / "second", "second")
    model.set_adapter("second")
    assert torch.equal(output(model), output(second))


def test_hot_swapping_copies_the_numbers_and_moves_nothing(tmp_path: Path) -> None:
    first, second = trained_adapter(tiny_bert()), trained_adapter(tiny_bert(), start="published")
    second.save_pretrained(tmp_path)
    places = [p.data_ptr() for p in first.parameters()]
    hotswap_adapter(first, tmp_path)
    assert torch.equal(output(first), output(second))
    assert [p.data_ptr() for p in first.parameters()] == places
    before = output(first)
    trained_adapter(tiny_bert(), off_diagonals=1).save_pretrained(tmp_path / "other")
    trained_adapter(tiny_bert(), target_modules=["query"]).save_pretrained(tmp_path / "fewer")
    for name, message in (("other", "cannot be swapped in: it has"), ("fewer", "adapts other layers")):
        with pytest.raises(ValueError, match=message):
            hotswap_adapter(first, tmp_path / name)
    assert torch.equal(output(first), before)


def test_modules_to_save_train_whole_and_are_saved(tmp_path: Path) -> None:
    model = trained_adapter(tiny_bert(), target_modules=["query"], modules_to_save=["dense"])
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert any("svft" not in name and name.endswith("dense.weight") for name in tensors)
    assert torch.equal(output(PeftModel.from_pretrained(tiny_bert(), tmp_path)), output(model))


def test_all_linear_leaves_tied_embeddings_alone() -> None:
    model = adapted(tiny_llama())
    assert len(_layers(model)) == 2 * 7
    base = model.get_base_model()
    assert base.lm_head.weight is base.model.embed_tokens.weight


def test_biases_train_where_asked(tmp_path: Path) -> None:
    model = trained_adapter(tiny_bert(), bias="svft_only")
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(name.endswith("base_layer.bias") for name in trainable)
    model.save_pretrained(tmp_path)
    assert torch.equal(output(PeftModel.from_pretrained(tiny_bert(), tmp_path)), output(model))


def test_wrong_targets_are_refused_as_by_peft() -> None:
    for named in (["nowhere"], ["embeddings.word_embeddings"]):
        with pytest.raises(ValueError, match="Target module") as ours:
            get_peft_model(tiny_bert(), SvftConfig(target_modules=named))
        if named == ["nowhere"]:
            with pytest.raises(ValueError, match="Target module") as theirs:
                get_peft_model(tiny_bert(), LoraConfig(target_modules=named))
            assert str(ours.value).split(" not found")[0] == str(theirs.value).split(" not found")[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"pattern": "bands"},
        {"execution": "fast"},
        {"form": "dense"},
        {"rank": 0},
        {"off_diagonals": -1},
        {"start": "x"},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"SvftConfig.*{next(iter(settings))}"):
        SvftConfig(**settings)


def test_model_without_weights_is_refused() -> None:
    with torch.device("meta"):
        base = tiny_bert()
    with pytest.raises(ConfigError, match="meta device"):
        get_peft_model(base, SvftConfig(target_modules="all-linear"))


def test_budget_gives_as_many_diagonals_as_fit(tmp_path: Path) -> None:
    base = tiny_llama()
    total = sum(p.numel() for p in base.parameters())
    model = adapted(base, trainable="10%", off_diagonals=0)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    d = model.peft_config["default"].off_diagonals
    ranks = [min(layer.out_features, layer.in_features) for layer in _layers(model)]
    assert counted == sum(num_positions("banded", rank, d) for rank in ranks) <= total // 10
    assert sum(num_positions("banded", rank, d + 1) for rank in ranks) > total // 10
    with pytest.raises(ConfigError, match="the diagonals alone hold"):
        adapted(base, trainable=3)
    with pytest.raises(ValueError, match="expected a number or a share"):
        adapted(base, trainable="a lot")


def test_adapter_on_another_weight_is_refused_with_both_digests(saved: Path) -> None:
    base = tiny_bert()
    with torch.no_grad():
        base.encoder.layer[1].output.dense.weight[3, 4] += 1e-3
    with pytest.raises(
        IntegrityError,
        match=r"encoder\.layer\.1\.output\.dense: sha256 \w{64}, the adapter was trained on \w{64}",
    ) as e:
        PeftModel.from_pretrained(base, saved)
    assert e.value.exit_code == 5


def test_adapter_on_another_basis_is_refused_with_both_probes(saved: Path, tmp_path: Path) -> None:
    weight = tiny_bert().encoder.layer[0].output.dense.weight.detach()
    basis = compute_basis(weight)
    flips = torch.ones(len(basis.s_r))
    flips[2] = -1  # what another routine may do: as good a decomposition, other coefficients
    path = tmp_path / "basis.safetensors"
    write_basis(Basis(basis.u_or * flips, basis.s_r, basis.v_ir * flips), path)
    with (
        bases_from({weight_digest(weight): path}),
        pytest.raises(IntegrityError, match="came out differently") as e,
    ):
        PeftModel.from_pretrained(tiny_bert(), saved)
    assert e.value.exit_code == 5
    assert "encoder.layer.0.output.dense" in str(e.value)


def test_coefficients_changed_in_the_file_are_noticed(saved: Path) -> None:
    tensors = load_file(saved / "adapter_model.safetensors")
    name = next(name for name in tensors if name.endswith("svft_coefficients"))
    tensors[name][1] += 0.01 * tensors[name].abs().max()
    save_file(tensors, saved / "adapter_model.safetensors")
    with pytest.raises(IntegrityError, match="the update differs by"):
        PeftModel.from_pretrained(tiny_bert(), saved)


def test_later_coefficients_load_over_earlier_ones_of_the_same_model(tmp_path: Path) -> None:
    model = trained_adapter(tiny_bert())
    model.save_pretrained(tmp_path / "early")
    trained(model)
    late = output(model)
    model.save_pretrained(tmp_path / "late")
    model.load_adapter(tmp_path / "early", "default")
    assert not torch.equal(output(model), late)
    model.load_adapter(tmp_path / "late", "default")
    assert torch.equal(output(model), late)


def test_file_is_little_more_than_its_numbers(saved: Path) -> None:
    model = PeftModel.from_pretrained(tiny_bert(), saved)
    numbers = sum(layer.svft_coefficients["default"].numel() for layer in _layers(model))
    assert (saved / "adapter_model.safetensors").stat().st_size <= 1.05 * 4 * numbers + 20_000


@pytest.mark.slow
def test_file_for_the_shapes_of_smollm2_135m_is_little_more_than_its_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    model = get_peft_model(
        LlamaForCausalLM(config), SvftConfig(pattern="banded", off_diagonals=8, target_modules="all-linear")
    )
    model.save_pretrained(tmp_path)
    numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert numbers == 30 * (5 * num_positions("banded", 576, 8) + 2 * num_positions("banded", 192, 8))
    assert (tmp_path / "adapter_model.safetensors").stat().st_size <= 1.05 * 4 * numbers + 20_000


def test_frozen_vectors_are_in_no_state_dict() -> None:
    model = adapted(tiny_bert())
    assert not [name for name in model.state_dict() if "basis" in name or "svft_products" in name]


def _layers(model: torch.nn.Module) -> list[SvftLinear]:
    return [module for module in model.modules() if isinstance(module, SvftLinear)]
