"""The promises of every adaptation method, as tests to subclass by filling ``method`` and ``base``."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from descant.adapters import Method


class MethodSuite:
    """Subclass, and give the fixtures ``method`` and ``base``: a small encoder from a fixed seed, in eval mode."""

    @pytest.fixture
    def method(self) -> Method:
        raise pytest.UsageError("a subclass gives the method under test")

    @pytest.fixture
    def base(self) -> PreTrainedModel:
        raise pytest.UsageError("a subclass gives the base model")

    @pytest.fixture
    def tokens(self) -> dict[str, torch.Tensor]:
        ids = torch.arange(24).reshape(2, 12) % 20 + 5
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def test_every_trainable_parameter_gets_a_gradient_and_no_other(
        self, method: Method, base: PreTrainedModel, tokens: dict[str, torch.Tensor]
    ) -> None:
        model = method.attach(base, seed=0)
        train_a_little(model, tokens)
        states(model, tokens).pow(2).mean().backward()
        for name, parameter in model.named_parameters():
            has_gradient = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert has_gradient == parameter.requires_grad, name

    def test_declared_count_equals_counted(self, method: Method, base: PreTrainedModel) -> None:
        declared = method.num_parameters(base)
        model = method.attach(base, seed=0)
        assert declared == sum(p.numel() for p in model.parameters() if p.requires_grad)

    def test_same_seed_gives_the_same_parameters(self, method: Method, base: PreTrainedModel) -> None:
        twin = copy.deepcopy(base)
        global_state = torch.get_rng_state()
        first, second = (trainable(method.attach(m, seed=3)) for m in (base, twin))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert torch.equal(torch.get_rng_state(), global_state)

    def test_start_is_at_the_base_where_declared(
        self, method: Method, base: PreTrainedModel, tokens: dict[str, torch.Tensor]
    ) -> None:
        before = states(base, tokens).detach().clone()
        after = states(method.attach(base, seed=0).eval(), tokens)
        assert torch.allclose(before, after, atol=1e-6) == method.starts_at_base

    def test_saved_state_holds_all_and_reloads_to_equal_outputs(
        self, method: Method, base: PreTrainedModel, tokens: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        base.save_pretrained(tmp_path / "base")
        model = method.attach(base, seed=0)
        train_a_little(model, tokens)
        expected = states(model.eval(), tokens)
        method.save(model, tmp_path / "saved", trainable(model))
        again = reload(method, type(base), tmp_path)
        assert torch.equal(states(again.eval(), tokens), expected)
        assert not [p for p in (tmp_path / "saved").rglob("*") if p.suffix in {".bin", ".pt"}]

    def test_merged_equals_unmerged(
        self, method: Method, base: PreTrainedModel, tokens: dict[str, torch.Tensor]
    ) -> None:
        if not method.mergeable:
            pytest.skip("declared not mergeable")
        architecture = type(base)
        model = method.attach(base, seed=0)
        train_a_little(model, tokens)
        expected = states(model.eval(), tokens).detach()
        merged = method.merge(model)
        assert type(merged) is architecture
        assert torch.allclose(states(merged.eval(), tokens), expected, atol=1e-5)


def trainable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors of ``model`` by name, copied."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def states(model: torch.nn.Module, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """The last hidden states, float32 [texts, tokens, h]."""
    return model(**tokens).last_hidden_state


def train_a_little(model: torch.nn.Module, tokens: dict[str, torch.Tensor]) -> None:
    """Three steps away from the start, so that nothing is zero by construction."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        states(model, tokens).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def reload(method: Method, architecture: Any, folder: Path) -> torch.nn.Module:
    """The model in ``folder / "saved"``, on the base in ``folder / "base"`` where that is an adapter."""
    if not method.adapter_only:
        return architecture.from_pretrained(folder / "saved")
    from peft import PeftModel

    return PeftModel.from_pretrained(architecture.from_pretrained(folder / "base"), folder / "saved")
