"""What a method cannot do is refused before anything starts, by a text that names what can be done instead."""

import copy
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from descant.adapters import (
    AdaLora,
    AnyMethod,
    Boft,
    C3a,
    Corda,
    Eva,
    FourierFt,
    Hra,
    Ia3,
    LnTuning,
    Lora,
    Method,
    Miss,
    Oft,
    Olora,
    Pissa,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Shira,
    TrainableTokens,
    VbLora,
    WaveFt,
)
from descant.adapters.library import LinearMethod, PeftMethod
from descant.core.errors import ConfigError, DataError
from tests.adapters.tiny import SPECS, kind_of, tiny_bert, tiny_gpt2

LINEAR_ONLY = [s for s in SPECS if isinstance(s, LinearMethod) and "Conv1D" not in s.layers]
UNQUANTISED = [s for s in SPECS if isinstance(s, PeftMethod) and not s.quantised]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Lora(target_modules=("q_proj",)), r"q_proj.*it has dense, key, query, value"),
        (LnTuning(target_modules=("ln_f",)), r"ln_f.*it has LayerNorm"),
        (
            Oft(oft_block_size=5),
            r"method oft: oft_block_size = 5 does not divide .*Use one of 1, 2, 4, 8, .*lora",
        ),
        (Boft(boft_block_size=3), r"boft: boft_block_size = 3 does not divide .*Use one of"),
        (C3a(), r"c3a: block_size = 256 does not divide .*Use one of 1, 2, 4, 8, .*lora"),
        (VbLora(), r"vblora: vector_length = 256 does not divide"),
        (VbLora(vector_length=4, num_vectors=4, topk=5), r"topk = 5 exceeds num_vectors = 4"),
        (FourierFt(), r"fourierft: n_frequency = 1000 exceeds .* \[16, 16\].*at most 256, or use lora"),
        (WaveFt(), r"waveft: n_frequency = 2592 exceeds"),
        (Miss(), r"miss: r = 64 exceeds the 16 inputs"),
        (Shira(), r"shira: r = 32 trains more entries"),
        (Pissa(r=17), r"pissa: r = 17 exceeds .*at most 16, or lora"),
        (Eva(r=2), r"eva: it starts from example batches and was given none.*lora, pissa or olora"),
        (Corda(r=2), r"corda: it starts from example batches and was given none"),
        (AdaLora(), r"adalora: total_step = None.*Give total_step"),
        (AdaLora(total_step=10, tinit=5, tfinal=5), r"leave no step in which ranks are cut"),
        (PromptTuning(), r"prompt_tuning: BertModel is no causal language model.*Use lora"),
        (PrefixTuning(), r"prefix_tuning: BertModel is no causal"),
        (PTuning(), r"p_tuning: BertModel is no causal"),
        (TrainableTokens(token_indices=(3, 40)), r"token_indices holds 40 .*40 embeddings"),
        (TrainableTokens(token_indices=(3, 3)), r"token_indices holds 3 twice"),
        (Ia3(target_modules=("key",), feedforward_modules=("dense",)), r"dense are not all target_modules"),
    ],
    ids=lambda value: value.kind if isinstance(value, Method) else "",
)
def test_method_that_does_not_fit_the_model_is_refused(method: Method, message: str) -> None:
    base = tiny_bert()
    before = copy.deepcopy(base.state_dict())
    with pytest.raises(ConfigError, match=message):
        method.attach(base, seed=0)
    after = base.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", LINEAR_ONLY, ids=kind_of)
def test_conv1d_is_refused_where_it_is_not_declared(method: Method) -> None:
    with pytest.raises(ConfigError, match=r"GPT2Model: h\.0\.attn\.c_attn: found Conv1D, .*use lora"):
        method.attach(tiny_gpt2(), seed=0)


@pytest.mark.parametrize("method", UNQUANTISED, ids=kind_of)
def test_quantised_base_is_refused_where_peft_has_nothing_for_it(method: Method) -> None:
    base: Any = tiny_bert()
    base.quantization_method = "bitsandbytes"
    with pytest.raises(ConfigError, match=f"method {method.kind}: .*quantised base. .*Use lora"):  # type: ignore[attr-defined]
        method.attach(base, seed=0)


@pytest.mark.parametrize("method", [Pissa(r=2), Olora(r=2), Corda(r=2)], ids=kind_of)
def test_base_that_would_be_rounded_is_refused(method: Method) -> None:
    with pytest.raises(ConfigError, match=r"in less than float32.*precision: fp32"):
        method.attach(tiny_bert().to(torch.bfloat16), seed=0, batches=[{}])


def test_layers_that_are_not_known_for_an_architecture_are_asked_for() -> None:
    base = tiny_bert()
    base.config.model_type = "unheard_of"
    with pytest.raises(ConfigError, match=r"PEFT names no layers for unheard_of.*Give target_modules"):
        Ia3().attach(base, seed=0)


def test_examples_that_leave_directions_undetermined_end_the_search() -> None:
    ids = torch.full((1, 1), 7)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with pytest.raises(DataError, match=r"did not determine all directions.*Lower r"):
        Eva(r=8).attach(tiny_bert(), seed=0, batches=[batch])


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "hra", "r": 3},
        {"kind": "lora", "r": 0},
        {"kind": "trainable_tokens", "token_indices": []},
        {"kind": "rslora", "use_rslora": False},
        {"kind": "eva", "rho": 2.0},
        {"kind": "svft_of_old"},
    ],
)
def test_values_out_of_bounds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AnyMethod).validate_python(values)


def test_odd_reflections_name_the_field() -> None:
    with pytest.raises(ValidationError, match="multiple of 2"):
        Hra(r=5)
