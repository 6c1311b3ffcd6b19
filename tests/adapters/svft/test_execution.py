"""All ways to compute an adapted layer give the same, and the exact ones start at the base bit for bit."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import PreTrainedModel

from descant.adapters.svft import SvftConfig
from descant.adapters.svft.forms import cheapest, costs
from descant.adapters.svft.layer import SvftLinear
from tests.adapters.svft.models import IDS, loss, output, tiny_bert, tiny_gpt2, tiny_llama, trained

FORMS = ("auto", "beside", "input_side", "output_side", "composed")
PATTERNS: list[dict[str, Any]] = [
    {"pattern": "plain"},
    {"pattern": "banded", "off_diagonals": 2},
    {"pattern": "random", "off_diagonals": 2},
    {"pattern": "top_k", "off_diagonals": 1, "rectangular": "banded"},
    {"pattern": "banded", "off_diagonals": 1, "rank": 5},
    {"pattern": "banded", "off_diagonals": 1, "gate": True, "start": "published"},
]
MODELS = (tiny_bert, tiny_gpt2, tiny_llama)
BANDED = {"pattern": "banded", "off_diagonals": 2}


def adapted(base: PreTrainedModel, **settings: Any) -> Any:
    return get_peft_model(copy.deepcopy(base), SvftConfig(target_modules="all-linear", **settings))


def layers(model: torch.nn.Module) -> list[SvftLinear]:
    return [module for module in model.modules() if isinstance(module, SvftLinear)]


def settle(model: torch.nn.Module, seed: int = 0) -> None:
    """Set the trained numbers far from zero, the same for every form."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "svft_coefficients" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("make", MODELS)
def test_exact_starts_at_the_base_bit_for_bit(
    make: Callable[[], PreTrainedModel], dtype: torch.dtype, form: str
) -> None:
    base = make().to(dtype)
    expected = output(base)
    for settings in PATTERNS[:5]:
        assert torch.equal(output(adapted(base, form=form, **settings)), expected), settings


@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"]
)
@pytest.mark.parametrize("make", MODELS)
def test_factored_starts_at_the_base_to_rounding(
    make: Callable[[], PreTrainedModel], dtype: torch.dtype, relative: float
) -> None:
    base = make().to(dtype)
    modules = dict(base.named_modules())
    for name, layer in adapted(base, execution="factored", **BANDED).get_base_model().named_modules():
        if isinstance(layer, SvftLinear):
            x = torch.randn(8, layer.in_features, generator=torch.Generator().manual_seed(0)).to(dtype)
            expected = modules[name](x).float()
            assert (layer(x).float() - expected).norm() <= relative * expected.norm()


@pytest.mark.parametrize("settings", PATTERNS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("make", MODELS)
def test_every_form_gives_the_outputs_and_gradients_of_the_dense_sum(
    make: Callable[[], PreTrainedModel], settings: dict[str, Any]
) -> None:
    base = make().double()
    reference = adapted(base, form="beside", **settings)
    settle(reference)
    dense = copy.deepcopy(reference).merge_and_unload()
    expected = output(dense)
    gradients = {}
    for form in (*FORMS, "factored"):
        kind = {"execution": "factored"} if form == "factored" else {"form": form}
        model = adapted(base, **kind, **settings)
        settle(model)
        torch.testing.assert_close(output(model), expected, atol=1e-4, rtol=1e-4)
        loss(model).backward()
        gradients[form] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for form, found in gradients.items():
        for name, gradient in found.items():
            assert gradient is not None
            expected_gradient = gradients["beside"][name]
            assert (gradient - expected_gradient).norm() <= 1e-3 * expected_gradient.norm() + 1e-9, (
                form,
                name,
            )


def test_gradient_of_a_coefficient_is_that_of_the_singular_vectors_in_the_weight_s_gradient() -> None:
    base = tiny_llama().double()
    model = adapted(base, form="auto", **BANDED)
    loss(model).backward()
    loss(base).backward()
    weights = dict(base.named_parameters())
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, SvftLinear):
            full = module.basis.u_or.T @ weights[f"{name}.weight"].grad @ module.basis.v_ir
            rank = len(full)
            band = [float(full[i, j]) for i in range(rank) for j in range(rank) if abs(i - j) <= 2]
            found = module.svft_coefficients["default"].grad
            torch.testing.assert_close(found, torch.tensor(band), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("form", ["input_side", "output_side", "composed"])
def test_every_form_trains_on_the_curve_of_the_factored_one(form: str) -> None:
    base = tiny_llama()
    exact = trained(adapted(base, form=form, **BANDED), steps=12, lr=3e-3)
    factored = trained(adapted(base, execution="factored", **BANDED), steps=12, lr=3e-3)
    assert exact[-1] < exact[0] - 1
    torch.testing.assert_close(exact, factored, rtol=1e-3, atol=1e-3)


def test_composed_weight_is_made_once_for_equal_coefficients() -> None:
    model = adapted(tiny_bert(), form="composed", **BANDED)
    output(model)
    layer = layers(model)[0]
    assert layer._composed is not None
    before = layer._composed[2]
    output(model)
    assert layer._composed[2] is before
    with torch.no_grad():
        layer.svft_coefficients["default"].data[0] += (
            1  # as optimizers do that write past the version counter
        )
    output(model)
    assert layer._composed[2] is not before


def test_composed_weights_of_two_adapters_are_not_taken_for_each_other() -> None:
    model = adapted(tiny_bert(), form="composed", pattern="random", off_diagonals=2)
    model.add_adapter(
        "second",
        SvftConfig(target_modules="all-linear", form="composed", pattern="random", off_diagonals=2, seed=9),
    )
    for layer in layers(model):
        for name in ("default", "second"):  # the same numbers at other positions
            torch.nn.init.constant_(layer.svft_coefficients[name], 0.05)
    first = output(model)
    model.set_adapter("second")
    second = output(model)
    torch.testing.assert_close(output(model.merge_and_unload()), second, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(first, second)


def test_factored_keeps_no_weight_and_gives_it_back() -> None:
    base = tiny_bert()
    weights = {n: p.clone() for n, p in base.named_parameters()}
    model = adapted(base, execution="factored", **BANDED)
    assert all(layer.get_base_layer().weight.numel() == 0 for layer in layers(model))
    with model.disable_adapter():
        torch.testing.assert_close(output(model), output(base), atol=1e-5, rtol=1e-5)
    restored = dict(model.unload().named_parameters())
    assert restored.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(restored[name], weight, atol=1e-5, rtol=1e-5)


def test_factored_and_exact_adapters_do_not_share_a_model() -> None:
    model = adapted(tiny_bert(), execution="factored")
    with pytest.raises(ValueError, match="execution=factored, the new one exact"):
        model.add_adapter("second", SvftConfig(target_modules="all-linear"))


@pytest.mark.parametrize("settings", PATTERNS[:3], ids=lambda s: s["pattern"])
@pytest.mark.parametrize("execution", ["exact", "factored"])
def test_adapted_model_compiles_without_a_break(settings: dict[str, Any], execution: str) -> None:
    model = adapted(tiny_bert(), execution=execution, **settings)
    settle(model)
    layer = layers(model)[0]
    x = torch.randn(3, 5, 16)
    expected = layer(x)
    expected.sum().backward()
    gradient = layer.svft_coefficients["default"].grad
    layer.svft_coefficients["default"].grad = None
    found = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    found.sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.svft_coefficients["default"].grad, gradient, atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    found = []
    for is_checkpointed in (False, True):
        model = adapted(tiny_llama(), **BANDED)
        settle(model)
        if is_checkpointed:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        loss(model).backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])


@pytest.mark.parametrize("settings", PATTERNS[:3], ids=lambda s: s["pattern"])
def test_autocast_runs_and_stays_close(settings: dict[str, Any]) -> None:
    model = adapted(tiny_llama(), form="beside", **settings)
    settle(model)
    expected = output(model).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(model)
        values = model(input_ids=IDS).logits.float()
    found.backward()
    assert (values - expected).norm() < 0.05 * expected.norm()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_cheapest_form_follows_shape_tokens_and_safety() -> None:
    def chosen(tokens: int, outputs: int, inputs: int, **changes: Any) -> str:
        settings = {"condition": 100.0, "dtype": torch.float32, "can_compose": True, **changes}
        return cheapest(tokens, outputs, inputs, min(outputs, inputs), **settings)

    assert chosen(4096, 1024, 1024) == "composed"
    assert chosen(1024, 3584, 1024) == "input_side"
    assert chosen(1024, 1024, 3584) == "output_side"
    assert chosen(1024, 3584, 1024, condition=1e6) != "input_side"
    assert chosen(1024, 1024, 1024, dtype=torch.bfloat16) == "beside"
    assert chosen(4096, 1024, 1024, can_compose=False) == "beside"
    assert costs(10, 6, 4, 4)["beside"] == 2 * 10 * (24 + 4 * 10)
