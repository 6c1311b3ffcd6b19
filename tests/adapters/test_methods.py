from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedModel

from descant.adapters import Dora, Full, Lora, Method
from descant.core.errors import ConfigError
from descant.testing.method_suite import MethodSuite


def tiny_bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,
    )
    return BertModel(config, add_pooling_layer=False).eval()


class TestMethods(MethodSuite):
    @pytest.fixture(
        params=[
            Lora(r=2, lora_alpha=4),
            Lora(r=3, lora_alpha=4, lora_dropout=0.0, target_modules=("query", "value"), use_rslora=True),
            Lora(r=2, lora_alpha=4, bias="lora_only"),
            Dora(r=2, lora_alpha=4),
        ],
        ids=["lora", "lora-query-value-rs", "lora-bias", "dora"],
    )
    def method(self, request: Any) -> Method:
        return request.param

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
    def tokens(self) -> dict[str, torch.Tensor]:
        ids = torch.arange(32).reshape(1, 32)
        return {
            "input_ids": ids.repeat(2, 1),
            "attention_mask": torch.ones(2, 32, dtype=torch.long),
            "token_type_ids": torch.tensor([[0], [1]]).repeat(1, 32),
        }


def test_lora_target_not_in_the_model_is_refused_with_what_is_there() -> None:
    with pytest.raises(ConfigError, match=r"q_proj.*it has dense, key, query, value"):
        Lora(target_modules=("q_proj",)).attach(tiny_bert(), seed=0)


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
