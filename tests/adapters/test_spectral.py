"""SVFT and its variants as methods of the platform."""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import (
    BertConfig,
    BertModel,
    GemmaConfig,
    GemmaModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)

from descant.adapters import Method, Svf, Svft, SvftPublished
from descant.testing.method_suite import MethodSuite
from tests.adapters.test_methods import tiny_bert

QKVUD = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")


class TestSpectral(MethodSuite):
    @pytest.fixture(
        params=[
            Svft(),
            Svft(pattern="banded", off_diagonals=2),
            Svft(pattern="banded", trainable="10%"),
            Svft(pattern="random", off_diagonals=2, rank=9),
            Svft(pattern="top_k", off_diagonals=1, target_modules=("query", "value")),
            Svf(),
            SvftPublished(pattern="banded", off_diagonals=2),
        ],
        ids=["plain", "banded", "budget", "random", "top-k", "svf", "published"],
    )
    def method(self, request: Any) -> Method:
        return request.param

    @pytest.fixture
    def base(self) -> PreTrainedModel:
        return tiny_bert()


def test_svf_is_svft_plain() -> None:
    base = tiny_bert()
    ids = torch.arange(12)[None] + 5
    outputs = []
    for method in (Svf(), Svft()):
        model = method.attach(copy.deepcopy(base), seed=0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "svft_coefficients" in name:
                    parameter.fill_(0.1)
        outputs.append(model(input_ids=ids).last_hidden_state)
    assert torch.equal(*outputs)


def gemma(hidden: int, mlp: int, layers: int, heads: int, key_value_heads: int) -> PreTrainedModel:
    return GemmaModel(
        GemmaConfig(
            vocab_size=8,
            hidden_size=hidden,
            intermediate_size=mlp,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_value_heads,
            head_dim=256,
        )
    )


def llama_3_8b() -> PreTrainedModel:
    return LlamaModel(
        LlamaConfig(
            vocab_size=8,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
        )
    )


PUBLISHED_COUNTS = [
    (
        "gemma-2b",
        lambda: gemma(2048, 16384, 18, 8, 1),
        "all-linear",
        {0: 193_536, 8: 3_281_040, 16: 6_352_416},
    ),
    ("gemma-2b QKVUD", lambda: gemma(2048, 16384, 18, 8, 1), QKVUD, {0: 119_808, 12: 2_981_160}),
    ("gemma-7b", lambda: gemma(3072, 24576, 28, 16, 16), "all-linear", {0: 602_112, 16: 19_816_384}),
    ("llama-3-8b", llama_3_8b, "all-linear", {0: 720_896, 8: 12_239_104, 24: 35_189_504}),
    (
        "llama-3-8b UDOG",
        llama_3_8b,
        ("up_proj", "down_proj", "o_proj", "gate_proj"),
        {12: 13_087_232, 16: 17_266_688},
    ),
    ("vit-b QV", lambda: ViTModel(ViTConfig()), ("q_proj", "v_proj"), {0: 18_432, 4: 165_408}),
    (
        "deberta-v3-base (BERT's layers have its shapes)",
        lambda: BertModel(BertConfig(vocab_size=8), add_pooling_layer=False),
        "all-linear",
        {0: 55_296, 2: 276_048},
    ),
]


@pytest.mark.parametrize(
    ("make", "named", "counts"), [row[1:] for row in PUBLISHED_COUNTS], ids=[r[0] for r in PUBLISHED_COUNTS]
)
def test_counts_on_the_meta_device_are_the_published_ones(
    make: Any, named: Any, counts: dict[int, int]
) -> None:
    with torch.device("meta"):
        model = make()
    for d, expected in counts.items():
        pattern = {"pattern": "banded", "off_diagonals": d} if d else {}
        assert Svft(target_modules=named, **pattern).num_parameters(model) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"off_diagonals": 2}, "pattern plain trains the diagonal only"),
        ({"pattern": "banded", "off_diagonals": 2, "trainable": "1%"}, "leave one out"),
        ({"pattern": "banded", "trainable": "much"}, "expected a number or a share"),
        ({"pattern": "bands"}, "Input should be 'plain', 'banded', 'random' or 'top_k'"),
    ],
)
def test_contradictions_are_refused_by_the_spec(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Svft(**settings)
