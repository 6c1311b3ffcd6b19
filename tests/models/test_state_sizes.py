"""What a transformer is said to keep, against every tensor that torch makes while it runs."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from descant.adapters import AnyMethod, Full, Lora, Svft
from descant.models.state_sizes import LayerSizes, layer_sizes
from tests.models.peak import Peak

VOCABULARY = 300
LOGIT_BYTES = 12
"""As the memory plan counts them: three float32 copies."""


def build(architecture: str, head: str, *, hidden: int, inner: int, layers: int, **values: Any) -> Any:
    """A model of random weights without dropout."""
    import transformers

    special = {"image_size": 64, "patch_size": 8} if architecture == "vit" else {"vocab_size": VOCABULARY}
    config = transformers.AutoConfig.for_model(
        architecture,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=1024,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **special,
        **values,
    )
    model: Any = getattr(transformers, head).from_config(config, attn_implementation="sdpa")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def loss_of(model: Any, rows: int, tokens: int) -> torch.Tensor:
    """Of language models the cross entropy of all tokens, of encoders something made of all states."""
    kind = model.config.model_type
    if kind == "vit":
        return model(pixel_values=torch.randn(rows, 3, 64, 64)).last_hidden_state.pow(2).mean()
    ids_bt = torch.randint(VOCABULARY, (rows, tokens))
    if hasattr(model, "lm_head") or hasattr(model.base_model, "lm_head"):
        logits_btv = model(input_ids=ids_bt, use_cache=False).logits
        return cross_entropy(logits_btv.float().flatten(0, 1), ids_bt.flatten())
    mask_bt = torch.ones_like(ids_bt)
    mask_bt[0, tokens // 2 :] = 0
    return model(input_ids=ids_bt, attention_mask=mask_bt).last_hidden_state.pow(2).mean()


CASES: dict[str, tuple[str, str, dict[str, Any], AnyMethod, bool]] = {
    "bert, full": ("bert", "AutoModel", {}, Full(), False),
    "bert, lora": ("bert", "AutoModel", {}, Lora(lora_dropout=0), False),
    "bert, svft": ("bert", "AutoModel", {}, Svft(), False),
    "bert, wide": ("bert", "AutoModel", {"inner": 512}, Full(), False),
    "bert, checkpoints": ("bert", "AutoModel", {"layers": 8}, Lora(lora_dropout=0), True),
    "vit, full": ("vit", "AutoModel", {}, Full(), False),
    "llama, full": ("llama", "AutoModelForCausalLM", {}, Full(), False),
    "llama, grouped": ("llama", "AutoModelForCausalLM", {"num_key_value_heads": 1}, Full(), False),
    "llama, lora": ("llama", "AutoModelForCausalLM", {}, Lora(lora_dropout=0), False),
    "llama, checkpoints": ("llama", "AutoModelForCausalLM", {"layers": 8}, Lora(lora_dropout=0), True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("rows", "tokens"), [(4, 64), (2, 256)])
def test_peak_of_a_training_step_is_about_what_is_said(name: str, rows: int, tokens: int) -> None:
    architecture, head, values, method, checkpointing = CASES[name]
    model = build(architecture, head, **({"hidden": 64, "inner": 256, "layers": 4} | values))
    sizes = layer_sizes(model)
    assert sizes is not None
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    adapted = method.attach(model, seed=0).train()
    with Peak(adapted) as peak:
        loss_of(adapted, rows, tokens).backward()
    masked = architecture != "llama"
    said = 4 * sizes.trained((rows, tokens), sees_padding=masked, checkpointing=checkpointing)
    said += LOGIT_BYTES * sizes.logits((rows, tokens))
    assert 2 / 3 < said / peak.num_bytes < 3 / 2


@pytest.mark.parametrize("name", ["bert, full", "bert, wide", "vit, full", "llama, full"])
def test_peak_without_a_backward_pass_is_about_what_is_said(name: str) -> None:
    architecture, head, values, _, _ = CASES[name]
    model = build(architecture, head, **({"hidden": 64, "inner": 256, "layers": 4} | values))
    sizes = layer_sizes(model.eval())
    assert sizes is not None
    with torch.no_grad(), Peak(model) as peak:
        loss_of(model, 4, 64)
    said = max(4 * sizes.read((4, 64)), 8 * sizes.logits((4, 64)))
    assert 2 / 3 < said / peak.num_bytes < 3 / 2


def test_sizes_are_those_of_the_configuration() -> None:
    model = build(
        "llama", "AutoModelForCausalLM", hidden=64, inner=192, layers=3, num_key_value_heads=2, head_dim=24
    )
    assert layer_sizes(model) == LayerSizes(3, 64, 192, 2 * 2 * 24, True, VOCABULARY, None)
    vit = layer_sizes(build("vit", "AutoModel", hidden=64, inner=256, layers=2))
    assert vit == LayerSizes(2, 64, 256, 2 * 64, False, 0, 65)


def test_model_with_other_names_for_its_sizes_is_not_guessed() -> None:
    class Unknown:
        config = object()

    assert layer_sizes(Unknown()) is None  # type: ignore[arg-type]


def test_layer_of_bert_keeps_the_sixteen_numbers_of_the_paper() -> None:
    """34 bytes s b h of half precision with dropout: 16 numbers and 2 bytes of masks without the scores' part."""
    one, two = (
        LayerSizes(layers, 100, 400, 200, False, 0, None).trained(
            (1, 10), sees_padding=False, checkpointing=False
        )
        for layers in (1, 2)
    )
    assert two - one == 16 * 10 * 100
