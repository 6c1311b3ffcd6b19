from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel

from descant.adapters import METHODS, AdaLora, Dora, Full, Lora, Method, Pissa, Rslora
from descant.adapters.library import LinearMethod, PeftMethod
from descant.adapters.prompts import Prompt
from descant.testing.method_suite import Batch, MethodSuite, reload, trainable
from tests.adapters.tiny import SPECS, kind_of, tiny_bert, tiny_gpt2, tiny_llama

PROMPTS = [spec for spec in SPECS if isinstance(spec, Prompt)]
ADAPTERS = [spec for spec in SPECS if isinstance(spec, PeftMethod) and not isinstance(spec, Prompt)]
ON_CONV1D = [spec for spec in ADAPTERS if "Conv1D" in spec.layers or not isinstance(spec, LinearMethod)]


def test_every_method_of_the_table_is_tried() -> None:
    assert [type(spec) for spec in SPECS] == list(METHODS)


class Suite(MethodSuite):
    @pytest.fixture
    def method(self, request: Any) -> Method:
        return request.param


@pytest.mark.parametrize("method", ADAPTERS, indirect=True, ids=kind_of)
class TestOnBert(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_bert()


@pytest.mark.parametrize("method", ADAPTERS, indirect=True, ids=kind_of)
class TestOnLlama(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_llama()


@pytest.mark.parametrize("method", ON_CONV1D, indirect=True, ids=kind_of)
class TestOnGpt2(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_gpt2()


@pytest.mark.parametrize("method", PROMPTS, indirect=True, ids=kind_of)
class TestPromptsOnGpt2(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_gpt2(GPT2LMHeadModel)


@pytest.mark.parametrize("method", PROMPTS, indirect=True, ids=kind_of)
class TestPromptsOnLlama(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_llama(LlamaForCausalLM)


OPTIONS = {
    "lora-query-value-rs": Lora(
        r=3, lora_alpha=4, lora_dropout=0.0, target_modules=("query", "value"), use_rslora=True
    ),
    "dora-dropout": Dora(r=2, lora_alpha=4, lora_dropout=0.5),
    "rslora-r3": Rslora(r=3),
    "pissa-rs": Pissa(r=2, lora_alpha=2, use_rslora=True),
}


@pytest.mark.parametrize("method", list(OPTIONS.values()), indirect=True, ids=list(OPTIONS))
class TestOptions(Suite):
    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_bert()


class TestTrainedBiases(Suite):
    """Biases that train are the base's own: such an adapter cannot be taken off again."""

    test_weights_of_the_base_stay_where_declared = None
    test_disabled_adapter_gives_the_base = None
    test_several_adapters_are_switched_and_deleted = None

    @pytest.fixture
    def method(self) -> Method:
        return Lora(r=2, lora_alpha=4, bias="lora_only")

    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_bert()


class TestFull(MethodSuite):
    @pytest.fixture
    def method(self) -> Method:
        return Full()

    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_bert()

    @pytest.fixture
    def tokens(self) -> Batch:
        ids = torch.arange(32).reshape(1, 32)
        return {
            "input_ids": ids.repeat(2, 1),
            "attention_mask": torch.ones(2, 32, dtype=torch.long),
            "token_type_ids": torch.tensor([[0], [1]]).repeat(1, 32),
        }


def test_lora_scale_is_alpha_over_r() -> None:
    model = Lora(r=2, lora_alpha=6, lora_dropout=0.0, target_modules=("query",)).attach(tiny_bert(), seed=0)
    weights = {n: p for n, p in model.named_parameters() if "layer.0" in n and "query" in n}
    down = next(p for n, p in weights.items() if "lora_A" in n)
    up = next(p for n, p in weights.items() if "lora_B" in n)
    frozen = next(p for n, p in weights.items() if n.endswith("base_layer.weight"))
    bias = next(p for n, p in weights.items() if n.endswith("base_layer.bias"))
    torch.nn.init.ones_(up)
    layer = next(m for n, m in model.named_modules() if n.endswith("layer.0.attention.self.query"))
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    expected = x @ (frozen + 3.0 * up @ down).T + bias
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_adalora_whose_ranks_were_cut_reloads_to_equal_outputs(tmp_path: Path) -> None:
    base, ids = tiny_bert(), torch.arange(24).reshape(2, 12) % 20 + 5
    base.save_pretrained(tmp_path / "base")
    method = AdaLora(init_r=4, target_r=1, total_step=6, tfinal=2, lora_alpha=64)
    model: Any = method.attach(base, seed=0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-1)
    for step in range(6):
        model(input_ids=ids).last_hidden_state.pow(2).mean().backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    expected = model.eval()(input_ids=ids).last_hidden_state
    method.save(model, tmp_path / "saved", trainable(model))
    again = reload(method, type(base), tmp_path).eval()
    ranks = [p.shape[0] for n, p in again.named_parameters() if "lora_E" in n]
    assert sum(ranks) == len(ranks)  # a mean rank of 1
    assert torch.allclose(again(input_ids=ids).last_hidden_state, expected, atol=1e-6)
