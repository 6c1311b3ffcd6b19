"""Tiny models and what is compared of them."""

import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

IDS = torch.arange(24).reshape(2, 12) % 20 + 5


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


def tiny_gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=40,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=32,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.3,
    )
    return GPT2LMHeadModel(config).eval()


def tiny_llama() -> LlamaForCausalLM:
    """Rectangular weights both ways, grouped heads, tied embeddings."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config).eval()


def output(model: torch.nn.Module) -> torch.Tensor:
    """Logits, or the last hidden states of an encoder, float32."""
    found = model(input_ids=IDS)
    return (found.last_hidden_state if hasattr(found, "last_hidden_state") else found.logits).float()


def loss(model: torch.nn.Module) -> torch.Tensor:
    """A sum with fixed weights, which no normalisation makes constant."""
    found = output(model)
    return (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum()


def trained(model: torch.nn.Module, steps: int = 3, lr: float = 1e-3) -> list[float]:
    """Train a little with AdamW; the losses before each step."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        found = loss(model)
        found.backward()
        losses.append(float(found.detach()))
        optimizer.step()
        optimizer.zero_grad()
    return losses
