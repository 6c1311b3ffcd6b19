"""The promises of every adaptation method, as tests to subclass by filling ``method`` and ``base``."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from descant.adapters import Method
from descant.adapters.library import PeftMethod
from descant.core.errors import ConfigError

Batch = dict[str, torch.Tensor]


class MethodSuite:
    """Subclass, and give the fixtures ``method`` and ``base``: a small model from a fixed seed, in eval mode."""

    @pytest.fixture
    def method(self) -> Method:
        raise pytest.UsageError("a subclass gives the method under test")

    @pytest.fixture
    def base(self) -> PreTrainedModel:
        raise pytest.UsageError("a subclass gives the base model")

    @pytest.fixture
    def tokens(self) -> Batch:
        ids = torch.arange(24).reshape(2, 12) % 20 + 5
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    @pytest.fixture
    def batches(self) -> list[Batch]:
        """Examples for methods that start from data."""
        ids = torch.randint(5, 40, (4, 4, 12), generator=torch.Generator().manual_seed(1))
        return [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in ids]

    def test_every_trainable_parameter_gets_a_gradient_and_no_other(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        model = method.attach(base, seed=0, batches=batches)
        train_a_little(model, tokens)
        output(model, tokens).pow(2).mean().backward()
        for name, parameter in model.named_parameters():
            has_gradient = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert has_gradient == parameter.requires_grad, name

    def test_declared_count_equals_counted_also_without_weights(
        self, method: Method, base: PreTrainedModel, batches: list[Batch]
    ) -> None:
        declared = method.num_parameters(base)
        shapes: Any = copy.deepcopy(base)
        assert method.num_parameters(shapes.to("meta")) == declared
        model = method.attach(base, seed=0, batches=batches)
        assert declared == sum(p.numel() for p in model.parameters() if p.requires_grad)

    def test_same_seed_gives_the_same_parameters(
        self, method: Method, base: PreTrainedModel, batches: list[Batch]
    ) -> None:
        twin = copy.deepcopy(base)
        global_state = torch.get_rng_state()
        first, second = (trainable(method.attach(m, seed=3, batches=batches)) for m in (base, twin))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert torch.equal(torch.get_rng_state(), global_state)

    def test_start_is_at_the_base_where_declared(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        before = output(base, tokens).detach().clone()
        after = output(method.attach(base, seed=0, batches=batches).eval(), tokens)
        same = before.shape == after.shape and torch.allclose(before, after, atol=1e-5)
        assert same == method.starts_at_base

    def test_weights_of_the_base_stay_where_declared(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        if not method.adapter_only:
            pytest.skip("trains the base itself")
        before = {id(p): p.detach().clone() for p in base.parameters()}
        model = method.attach(base, seed=0, batches=batches)
        if method.keeps_base:
            train_a_little(model, tokens)
        same = all(torch.equal(before[id(p)], p) for p in model.parameters() if id(p) in before)
        assert same == method.keeps_base

    def test_mode_of_training_is_kept(
        self, method: Method, base: PreTrainedModel, batches: list[Batch]
    ) -> None:
        assert method.attach(base.train(), seed=0, batches=batches).training

    def test_saved_state_holds_all_and_reloads_to_equal_outputs(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch], tmp_path: Path
    ) -> None:
        base.save_pretrained(tmp_path / "base")
        model = method.attach(base, seed=0, batches=batches)
        train_a_little(model, tokens)
        expected = output(model.eval(), tokens)
        method.save(model, tmp_path / "saved", trainable(model))
        again = output(reload(method, type(base), tmp_path).eval(), tokens)
        if method.keeps_base:
            assert torch.equal(again, expected)
        assert torch.allclose(again, expected, atol=1e-5)
        assert torch.equal(output(model, tokens), expected)
        assert not [p for p in (tmp_path / "saved").rglob("*") if p.suffix in {".bin", ".pt"}]

    def test_merged_equals_unmerged(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        architecture = type(base)
        model = method.attach(base, seed=0, batches=batches)
        if not method.mergeable:
            with pytest.raises(ConfigError):
                method.merge(model)
            return
        train_a_little(model, tokens)
        expected = output(model.eval(), tokens).detach()
        merged = method.merge(model)
        assert type(merged) is architecture
        assert torch.allclose(output(merged.eval(), tokens), expected, atol=1e-5)

    def test_merging_can_be_undone(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        if not isinstance(method, PeftMethod) or not method.mergeable:
            pytest.skip("no PEFT tuner that merges")
        model: Any = method.attach(base, seed=0, batches=batches)
        train_a_little(model, tokens)
        expected = output(model.eval(), tokens).detach()
        model.merge_adapter()
        model.unmerge_adapter()
        assert torch.allclose(output(model, tokens), expected, atol=2e-5)

    def test_disabled_adapter_gives_the_base(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        if not isinstance(method, PeftMethod) or not method.keeps_base:
            pytest.skip("the base is part of what trains")
        expected = output(base, tokens).detach().clone()
        model: Any = method.attach(base, seed=0, batches=batches)
        train_a_little(model, tokens)
        adapted = output(model.eval(), tokens).detach()
        with model.disable_adapter():
            assert torch.equal(output(model, tokens), expected)
        assert torch.equal(output(model, tokens), adapted)
        assert not torch.equal(expected, adapted)

    def test_several_adapters_are_switched_and_deleted(
        self, method: Method, base: PreTrainedModel, tokens: Batch, batches: list[Batch]
    ) -> None:
        if not isinstance(method, PeftMethod) or not method.several_adapters:
            pytest.skip("one adapter for each base")
        model: Any = method.attach(base, seed=0, batches=batches)
        train_a_little(model, tokens)
        first = output(model.eval(), tokens).detach()
        model.add_adapter("second", copy.deepcopy(model.peft_config["default"]))
        model.set_adapter("second")
        train_a_little(model, tokens, steps=1)
        second = output(model.eval(), tokens).detach()
        assert not torch.allclose(first, second, atol=1e-6)
        model.set_adapter("default")
        assert torch.equal(output(model, tokens), first)
        model.delete_adapter("second")
        assert torch.equal(output(model, tokens), first)

    def test_target_that_the_model_lacks_is_refused(self, method: Method, base: PreTrainedModel) -> None:
        if "target_modules" not in type(method).model_fields:
            pytest.skip("has no targets to choose")
        elsewhere = method.model_copy(update={"target_modules": ("no_such_layer",)})
        with pytest.raises(ConfigError, match="no_such_layer"):
            elsewhere.attach(base, seed=0)


def trainable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors of ``model`` by name, copied."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def output(model: torch.nn.Module, tokens: Batch) -> torch.Tensor:
    """A language model's logits, else the last hidden states: float32 [texts, tokens, n]."""
    answer = model(**tokens)
    found: torch.Tensor = answer.logits if "logits" in answer else answer.last_hidden_state
    return found


def train_a_little(model: torch.nn.Module, tokens: Batch, steps: int = 3) -> None:
    """A few steps away from the start, so that nothing is zero by construction."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        output(model, tokens).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def reload(method: Method, architecture: Any, folder: Path) -> torch.nn.Module:
    """The model in ``folder / "saved"``, on the base in ``folder / "base"`` where that is an adapter."""
    if not method.adapter_only:
        return architecture.from_pretrained(folder / "saved")
    from peft import PeftModel

    return PeftModel.from_pretrained(architecture.from_pretrained(folder / "base"), folder / "saved")
