"""A training step of LoRA with the rows of new tokens beside it: ours, PEFT's two ways, on the shapes of SmolLM2.

Two of its thirty layers, so that what differs, the embeddings and the head, is not lost in what does not.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from descant.stages.training.trainable_rows import train_rows
from tests.benchmarks.figures import report

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

BASE, NEW, TOKENS, STEPS = 49_152, 5_000, 512, 9
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=BASE + NEW,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def lora(**values: Any) -> Any:
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, **values)
    return get_peft_model(base(), config, autocast_adapter_dtype=False)


def ours() -> Any:
    model = lora()
    train_rows(model.get_base_model(), BASE)
    return model


WAYS: dict[str, Callable[[], Any]] = {
    "descant: rows of their own": ours,
    "PEFT: trainable_token_indices": lambda: lora(trainable_token_indices=list(range(BASE, BASE + NEW))),
    "PEFT: modules_to_save, all rows": lambda: lora(
        modules_to_save=["embed_tokens", "lm_head"], ensure_weight_tying=True
    ),
}


def step(model: Any, ids: torch.Tensor) -> float:
    begin = time.perf_counter()
    logits = model(input_ids=ids, use_cache=False).logits
    cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    seconds = time.perf_counter() - begin
    model.zero_grad()
    return seconds


def test_step_with_new_rows_against_peft(capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(BASE + NEW, (1, TOKENS), generator=generator)
    models = {name: make() for name, make in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    losses = {}
    for name, model in models.items():
        with torch.no_grad():
            losses[name] = float(cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:]))
        step(model, ids)
    for _ in range(STEPS):  # by turns, so that a busy spell meets all
        for name, model in models.items():
            seconds[name].append(step(model, ids))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    first = next(iter(middle.values()))
    rows = [
        {
            "way": name,
            "seconds a step": round(value, 3),
            "times ours": round(value / first, 2),
            "parameters that train": sum(p.numel() for p in models[name].parameters() if p.requires_grad),
        }
        for name, value in middle.items()
    ]
    notes = [
        f"Forward and backward of {TOKENS} tokens, {BASE:,} + {NEW:,} rows of 576, tied head, two layers; "
        f"middle of {STEPS} by turns.",
        "The same loss before any step.",
    ]
    with capsys.disabled():
        report("trainable-rows", "New rows beside LoRA", rows, notes, seconds=seconds)
    assert max(losses.values()) - min(losses.values()) < 1e-4
