"""Tiny random models of the architectures that methods are tried on, and a tiny spec of every method."""

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
)

from descant.adapters import (
    AdaLora,
    Boft,
    C3a,
    Corda,
    Dora,
    Eva,
    FourierFt,
    Full,
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
    RandLora,
    Rslora,
    Shira,
    Svf,
    Svft,
    SvftPublished,
    TrainableTokens,
    VbLora,
    Vera,
    WaveFt,
)

SPECS: tuple[Method, ...] = (
    Full(),
    Lora(r=2, lora_alpha=4),
    Rslora(r=2),
    Dora(r=2, lora_alpha=4),
    Svft(pattern="banded", off_diagonals=2),
    Svf(),
    SvftPublished(),
    Pissa(r=2, lora_alpha=2),
    Olora(r=2, lora_alpha=2),
    Eva(r=2),
    Corda(r=2, lora_alpha=2),
    AdaLora(init_r=3, target_r=2, total_step=10),
    Vera(r=8),
    RandLora(r=5, randlora_alpha=8),  # does not divide the sizes: the last basis is cut
    VbLora(r=2, num_vectors=8, vector_length=4),
    Oft(oft_block_size=4),
    Boft(boft_block_size=4),
    Hra(r=2),
    FourierFt(n_frequency=20, scaling=5),
    WaveFt(n_frequency=20),
    C3a(block_size=4),
    Miss(r=5),  # does not divide the sizes: the inputs are padded
    Shira(r=2),
    Ia3(),
    LnTuning(),
    TrainableTokens(token_indices=(5, 6, 7)),
    PromptTuning(num_virtual_tokens=3),
    PrefixTuning(num_virtual_tokens=3),
    PTuning(num_virtual_tokens=3, encoder_hidden_size=8),
)
"""One of every kind, in the order of the table."""


def kind_of(method: Any) -> str:
    """The kind, for a test's id."""
    return str(method.kind)


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


def tiny_gpt2(architecture: Any = GPT2Model) -> GPT2Model | GPT2LMHeadModel:
    """Its linear layers are Conv1D, with transposed weights."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=40,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_inner=24,
        n_positions=64,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.3,
    )
    return architecture(config).eval()


def tiny_llama(architecture: Any = LlamaModel) -> LlamaModel | LlamaForCausalLM:
    """Two heads share a key: keys and values are narrower than queries."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return architecture(config).eval()
