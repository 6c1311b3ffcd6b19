"""What PEFT's own tests ask of LoRA beyond ``test_tuner``: SVFT does it, or refuses it and says why."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftMixedModel, PeftModel, get_peft_model, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.hotswap import hotswap_adapter as peft_hotswap_adapter
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from descant.adapters.svft import SvftConfig
from descant.adapters.svft.layer import SvftLinear
from tests.adapters.svft.models import IDS, loss, output, tiny_bert, tiny_gpt2, tiny_llama, trained

PUBLISHED: dict[str, Any] = {
    "pattern": "banded",
    "off_diagonals": 2,
    "target_modules": "all-linear",
    "start": "published",
}
ROWS = torch.arange(6 * 7).reshape(6, 7) % 20 + 5
NAMES = ["__base__", "first", "second", "second", "__base__", "first"]


def adapted(base: PreTrainedModel, **settings: Any) -> Any:
    """Away from the start, so that nothing is zero by construction."""
    return get_peft_model(base, SvftConfig(**{**PUBLISHED, **settings})).eval()


def pair(base: PreTrainedModel, first: dict[str, Any], second: dict[str, Any], **settings: Any) -> Any:
    """``base`` with the adapters "first" and "second"."""
    configs = [SvftConfig(**{**PUBLISHED, "seed": seed, **own}) for seed, own in enumerate((first, second))]
    model = get_peft_model(base, configs[0], adapter_name="first", **settings)
    model.add_adapter("second", configs[1])
    return model.eval()


def states(model: Any, **arguments: Any) -> torch.Tensor:
    found = model(input_ids=ROWS, **arguments)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


def layers(model: torch.nn.Module) -> dict[str, SvftLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, SvftLinear)}


# --- rows of a batch with adapters of their own ---


@pytest.mark.parametrize("execution", ["exact", "factored"])
@pytest.mark.parametrize("make", [tiny_bert, tiny_gpt2, tiny_llama])
@torch.no_grad()
def test_each_row_of_a_batch_is_read_by_its_own_adapter(
    make: Callable[[], PreTrainedModel], execution: str
) -> None:
    model = pair(make(), {"execution": execution}, {"execution": execution, "rank": 7, "pattern": "random"})
    expected = {}
    with model.disable_adapter():
        expected["__base__"] = states(model)
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = states(model)
    found = states(model, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        torch.testing.assert_close(found[row], expected[name][row], atol=2e-5, rtol=1e-5)
    assert (expected["first"] - expected["second"]).abs().max() > 0.01
    assert torch.equal(states(model), expected["second"])


@torch.no_grad()
def test_rows_whose_adapters_have_other_layers_and_whole_modules() -> None:
    model = pair(
        tiny_bert(),
        {"target_modules": ["query"], "modules_to_save": ["output.dense"]},
        {"target_modules": ["query", "value"], "modules_to_save": ["output.dense"]},
    )
    for parameter in (p for name, p in model.named_parameters() if "modules_to_save.second" in name):
        parameter.add_(0.3)
    expected = {}
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = states(model)
    found = states(model, adapter_names=["first", "second"] * 3)
    for row in range(6):
        torch.testing.assert_close(
            found[row], expected[("first", "second")[row % 2]][row], atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize("num_beams", [1, 3])
@torch.no_grad()
def test_rows_of_generated_texts_have_their_own_adapters(num_beams: int) -> None:
    model = pair(tiny_llama(), {"task_type": "CAUSAL_LM"}, {"task_type": "CAUSAL_LM"})
    settings = {"max_new_tokens": 6, "num_beams": num_beams, "do_sample": False, "pad_token_id": 0}
    expected = {}
    with model.disable_adapter():
        expected["__base__"] = model.generate(input_ids=ROWS, **settings)
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = model.generate(input_ids=ROWS, **settings)
    found = model.generate(input_ids=ROWS, adapter_names=NAMES, **settings)
    assert all(torch.equal(found[row], expected[name][row]) for row, name in enumerate(NAMES))
    assert not torch.equal(expected["first"], expected["second"])


@torch.no_grad()
def test_encoder_reads_rows_as_given_while_beams_repeat_them() -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=40, decoder_start_token_id=0, initializer_factor=3.0, **sizes)
    task = {"task_type": "SEQ_2_SEQ_LM", "target_modules": ["q", "v"]}
    model = pair(T5ForConditionalGeneration(config).eval(), task, task)
    settings = {"max_new_tokens": 6, "num_beams": 3, "do_sample": False}
    expected = {}
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = model.generate(input_ids=ROWS, **settings)
    names = ["first", "second", "second"] * 2
    found = model.generate(input_ids=ROWS, adapter_names=names, **settings)
    assert all(torch.equal(found[row], expected[name][row]) for row, name in enumerate(names))
    assert not torch.equal(expected["first"], expected["second"])


def test_rows_that_cannot_be_told_apart_are_refused() -> None:
    model = pair(tiny_bert(), {}, {})
    with pytest.raises(ValueError, match="Length of `adapter_names` should be the same"):
        states(model, adapter_names=["first"])
    with pytest.raises(ValueError, match=r"non-existing adapter\(s\): nobody, other"):
        states(model, adapter_names=["other", "nobody", *NAMES[2:]])
    with pytest.raises(ValueError, match="when the model is in training mode"):
        states(model.train(), adapter_names=NAMES)
    expected = states(tiny_bert())
    with model.eval().disable_adapter():
        assert torch.equal(states(model, adapter_names=NAMES), expected)
    model.merge_adapter()
    with pytest.raises(ValueError, match="call `unmerge_adapter` first"):
        states(model, adapter_names=NAMES)


# --- which layers ---


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target_modules": ["query"], "layers_to_transform": 1}, {"1.attention.self.query"}),
        (
            {"target_modules": ["query"], "layers_to_transform": [0], "layers_pattern": "layer"},
            {"0.attention.self.query"},
        ),
        ({"target_modules": r".*layer\.0.*(query|key)"}, {"0.attention.self.query", "0.attention.self.key"}),
        (
            {"exclude_modules": ["query", "key", "value", "output.dense"]},
            {"0.intermediate.dense", "1.intermediate.dense"},
        ),
        (
            {"target_modules": ["query", "key"], "exclude_modules": r".*layer\.1.*|.*key"},
            {"0.attention.self.query"},
        ),
    ],
    ids=str,
)
def test_layers_are_chosen_as_for_lora(settings: dict[str, Any], expected: set[str], tmp_path: Path) -> None:
    model = adapted(tiny_bert(), **settings)
    assert {name.split("encoder.layer.")[1] for name in layers(model)} == expected
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_bert(), tmp_path)
    assert layers(again).keys() == layers(model).keys()
    assert torch.equal(output(again), output(model))


@pytest.mark.parametrize("name", ["conv", "embedding"])
def test_layers_without_two_sides_are_refused(name: str) -> None:
    base = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(2, 2, 3), "embedding": torch.nn.Embedding(4, 2)})
    with pytest.raises(ValueError, match=r"SVFT adapts torch\.nn\.Linear"):
        get_peft_model(base, SvftConfig(target_modules=[name]))


# --- what trains ---


def test_gradients_follow_the_active_adapter_and_what_is_asked() -> None:
    def training() -> set[str]:
        return {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad}

    model = pair(tiny_bert(), {}, {})
    assert training() == {"first"}
    model.set_adapter("second")
    assert training() == {"second"}
    model.base_model.set_adapter(["first", "second"])
    assert training() == {"first", "second"}
    model.set_requires_grad("first", requires_grad=False)
    assert training() == {"second"}
    model.set_adapter("first", inference_mode=True)
    assert training() == set()


@pytest.mark.parametrize("is_trainable", [False, True])
def test_loaded_adapter_trains_only_where_asked(is_trainable: bool, tmp_path: Path) -> None:
    adapted(tiny_bert(), gate=True).save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_bert(), tmp_path, is_trainable=is_trainable)
    assert again.peft_config["default"].inference_mode is not is_trainable
    trains = {name for name, p in again.named_parameters() if p.requires_grad}
    assert trains == ({n for n, _ in again.named_parameters() if "svft_" in n} if is_trainable else set())


def test_half_precision_base_keeps_coefficients_in_float32_even_without_autocast() -> None:
    """LoRA's factors take the base's type then; a step of a coefficient would be lost in bf16's three digits."""
    model = get_peft_model(tiny_bert().bfloat16(), SvftConfig(**PUBLISHED), autocast_adapter_dtype=False)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert states(model).dtype == torch.bfloat16


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradients_are_the_same_with_checkpointing(use_reentrant: bool) -> None:
    plain, checkpointed = adapted(tiny_llama()), adapted(tiny_llama())
    checkpointed.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    checkpointed.enable_input_require_grads()
    for model in (plain, checkpointed):
        loss(model.train()).backward()
    for ours, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, other.grad)


def test_embedded_inputs_and_labels_pass_through() -> None:
    model = adapted(tiny_llama(), task_type="CAUSAL_LM")
    embedded = model.get_input_embeddings()(IDS)
    found = model(inputs_embeds=embedded, labels=IDS)
    torch.testing.assert_close(found.logits, output(model))
    found.loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


# --- adapters by name ---


def test_taken_names_and_unknown_ones_are_refused() -> None:
    model = pair(tiny_bert(), {}, {})
    with pytest.raises(ValueError, match="first"):
        model.add_adapter("first", SvftConfig(**PUBLISHED))
    for call in (model.delete_adapter, model.set_adapter):
        with pytest.raises(ValueError, match="nobody"):
            call("nobody")
    assert set(model.peft_config) == {"first", "second"}


def test_deleting_the_active_adapter_leaves_the_other_active() -> None:
    model = pair(tiny_bert(), {}, {})
    model.set_adapter("second")
    second = output(model)
    model.set_adapter("first")
    with pytest.warns(UserWarning, match="second"):
        model.delete_adapter("first")
    assert model.active_adapters == ["second"]
    assert torch.equal(output(model), second)
    assert not [name for name in model.state_dict() if "first" in name]
    assert all(set(layer.svft_scale) == {"second"} for layer in layers(model).values())


def test_deleting_a_merged_adapter_is_refused() -> None:
    model = pair(tiny_bert(), {}, {})
    model.merge_adapter(["first"])
    with pytest.raises(ValueError, match="merged"):
        model.delete_adapter("first")
    model.delete_adapter("second")


def test_chosen_adapters_are_saved_and_loaded_beside_each_other(tmp_path: Path) -> None:
    model = pair(tiny_bert(), {}, {})
    model.set_adapter("second")
    model.save_pretrained(tmp_path, selected_adapters=["second"])
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["second"]
    again = PeftModel.from_pretrained(tiny_bert(), tmp_path / "second")
    again.load_adapter(tmp_path / "second", "again")
    assert torch.equal(output(again), output(model))
    again.set_adapter("again")
    assert torch.equal(output(again), output(model))


def test_status_names_layers_adapters_and_what_is_merged() -> None:
    model = pair(tiny_bert(), {"target_modules": ["query"]}, {"target_modules": ["query", "value"]})
    model.merge_adapter(["first"])
    status = model.get_model_status()
    assert (status.peft_types, status.num_adapter_layers) == ({"first": "SVFT", "second": "SVFT"}, 4)
    assert (status.merged_adapters, status.active_adapters, status.enabled) == (["first"], ["first"], True)
    assert status.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = {each.name: each for each in model.get_layer_status()}
    assert found["model.encoder.layer.1.attention.self.value"].available_adapters == ["second"]
    assert found["model.encoder.layer.1.attention.self.query"].requires_grad == {
        "first": True,
        "second": False,
    }


# --- merging ---


def test_merging_twice_and_unmerging_twice_warns() -> None:
    model = adapted(tiny_bert())
    expected = output(model)
    model.merge_adapter()
    with pytest.warns(UserWarning, match="Already following adapters were merged|already merged"):
        model.merge_adapter()
    torch.testing.assert_close(output(model), expected, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    with pytest.warns(UserWarning, match="Already unmerged"):
        model.unmerge_adapter()
    torch.testing.assert_close(output(model), expected, atol=1e-5, rtol=1e-5)


def test_merging_one_by_one_equals_merging_at_once() -> None:
    model = pair(tiny_bert(), {}, {"pattern": "random"})
    model.base_model.set_adapter(["first", "second"])
    expected = output(model)
    at_once = copy.deepcopy(model)
    at_once.merge_adapter()
    model.merge_adapter(["first"])
    model.merge_adapter(["second"])
    torch.testing.assert_close(output(model), output(at_once), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(output(model), expected, atol=1e-5, rtol=1e-5)


def test_refused_merge_leaves_the_weights_as_they_were() -> None:
    model = adapted(tiny_bert())
    layer = next(iter(layers(model).values()))
    with torch.no_grad():
        layer.svft_coefficients["default"][0] = float("nan")
    before = layer.get_base_weight().clone()
    with pytest.raises(ValueError, match="not finite"):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.get_base_weight(), before)
    assert not layer.merged


@pytest.mark.parametrize("execution", ["exact", "factored"])
def test_unloading_gives_the_base_back(execution: str) -> None:
    base = adapted(tiny_bert(), execution=execution).unload()
    assert not layers(base)
    torch.testing.assert_close(output(base), output(tiny_bert()), atol=1e-5, rtol=1e-5)


# --- copies and other doors ---


def test_copied_and_pickled_models_give_the_same_and_go_their_own_way() -> None:
    model = adapted(tiny_bert(), pattern="random")
    expected = output(model)
    through_a_process = pickle.loads(pickle.dumps(model))  # as Ray and multiprocessing send it
    for again in (copy.deepcopy(model), through_a_process):
        assert torch.equal(output(again), expected)
        trained(again)
        assert not torch.equal(output(again.eval()), expected)
        assert torch.equal(output(model), expected)


def test_injected_adapter_takes_the_state_of_another() -> None:
    first = inject_adapter_in_model(SvftConfig(**PUBLISHED), tiny_bert())
    state = get_peft_model_state_dict(first)  # type: ignore[arg-type]
    second = inject_adapter_in_model(SvftConfig(**{**PUBLISHED, "start": "zero"}), tiny_bert())
    found = set_peft_model_state_dict(second, state)  # type: ignore[arg-type]
    assert not found.unexpected_keys
    assert torch.equal(output(second), output(first))


def test_models_of_transformers_add_save_and_load_it(tmp_path: Path) -> None:
    model = tiny_llama()
    model.add_adapter(SvftConfig(**PUBLISHED))
    model.eval().save_pretrained(tmp_path)
    again = tiny_llama()
    again.load_adapter(str(tmp_path))
    assert torch.equal(output(again), output(model))
    again.disable_adapters()
    assert torch.equal(output(again), output(tiny_llama()))


def test_what_is_lora_alone_is_refused(tmp_path: Path) -> None:
    model = adapted(tiny_bert())
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="SVFT"):
        peft_hotswap_adapter(model, tmp_path, "default")  # descant.adapters.svft.hotswap_adapter does it
    with pytest.raises(ValueError, match="not compatible with the `PeftMixedModel`"):
        PeftMixedModel(tiny_bert(), SvftConfig(**PUBLISHED))  # type: ignore[arg-type]
    for settings in ({"rank_pattern": {"query": 4}}, {"target_parameters": ["w"]}, {"use_dora": True}):
        with pytest.raises(TypeError, match=next(iter(settings))):
            SvftConfig(**settings)  # type: ignore[arg-type]
