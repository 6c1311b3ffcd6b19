"""Parameters, operations and activations from a shape, against real models and torch's own counter."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from descant.run.scale.shape import EncoderShape

MINILM = EncoderShape(
    layers=6,
    width=384,
    key_value_width=384,
    mlp_width=1536,
    mlp_matrices=2,
    embedding_rows=31036,
    bytes_per_number=4,
)
MISTRAL = EncoderShape(
    layers=32,
    width=4096,
    key_value_width=1024,
    mlp_width=14336,
    mlp_matrices=3,
    embedding_rows=32000,
    bytes_per_number=2,
)
TEXTS, TOKENS = 2, 12


def small(kind: str) -> tuple[EncoderShape, Any]:
    """A model of two layers and its shape."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}
    if kind == "bert":
        config: Any = BertConfig(**sizes, intermediate_size=80, attn_implementation="eager")
        shape = {"key_value_width": 32, "mlp_width": 80, "mlp_matrices": 2}
        model: Any = BertModel(config, add_pooling_layer=False)
    else:
        config = LlamaConfig(
            **sizes, intermediate_size=48, num_key_value_heads=2, attn_implementation="eager"
        )
        shape = {"key_value_width": 16, "mlp_width": 48, "mlp_matrices": 3}
        model = LlamaModel(config)
    return EncoderShape(layers=2, width=32, embedding_rows=50, bytes_per_number=4, **shape), model.eval()


def counted(model: Any, trained: str) -> float:
    """Operations for one token, as torch counts them."""
    model.requires_grad_(trained == "all")
    inputs = torch.zeros(TEXTS, TOKENS, 32, requires_grad=trained != "nothing")
    with FlopCounterMode(display=False) as counter:
        states = model(inputs_embeds=inputs).last_hidden_state
        if trained != "nothing":
            states.sum().backward()
    # rotary angles are a product of two short vectors in torch's count; nothing of the model
    rotary = 2 * 4 * TOKENS if isinstance(model, LlamaModel) else 0
    return (counter.get_total_flops() - rotary) / (TEXTS * TOKENS)


def test_parameters_are_those_of_the_published_checkpoints() -> None:
    assert MINILM.parameters == pytest.approx(
        22_713_216, rel=0.01
    )  # norms, biases and the pooler are left out
    assert MISTRAL.parameters == 7_110_660_096 - 65 * 4096  # less its norms


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("trained", ["nothing", "adapter", "all"])
def test_operations_of_a_token_are_those_that_torch_counts(kind: str, trained: Any) -> None:
    shape, model = small(kind)
    assert counted(model, trained) == pytest.approx(shape.operations(TOKENS, trained), rel=1e-3)


def test_frozen_weights_save_a_third_and_recomputing_costs_a_forward_pass() -> None:
    forward, adapter, full = (MISTRAL.operations(1e-9, trained) for trained in ("nothing", "adapter", "all"))
    assert adapter / full == pytest.approx(4 / 6)
    assert MISTRAL.operations(1e-9, "all", recompute=True) == pytest.approx(full + forward)


def test_activations_of_the_classic_layer_are_the_published_bytes_less_dropout() -> None:
    width = 64
    classic = EncoderShape(
        layers=3,
        width=width,
        key_value_width=width,
        mlp_width=4 * width,
        mlp_matrices=2,
        embedding_rows=1,
        bytes_per_number=2,
    )
    assert classic.activation_bytes(recompute=False) == 3 * (34 - 2) * width
    assert classic.activation_bytes(recompute=True) == 3 * 2 * width + 32 * width


def test_activations_are_about_what_torch_keeps_for_the_backward_pass() -> None:
    config = LlamaConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=192,
        vocab_size=10,
        attn_implementation="sdpa",
    )
    shape = EncoderShape(
        layers=4,
        width=64,
        key_value_width=32,
        mlp_width=192,
        mlp_matrices=3,
        embedding_rows=10,
        bytes_per_number=4,
    )
    model = LlamaModel(config)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.randn(4, 64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(inputs_embeds=inputs)
    measured = sum(kept.values()) / (4 * 64)
    # 1.14 times: rotated queries and keys are kept beside the plain ones, and a norm keeps more than its input
    assert measured == pytest.approx(shape.activation_bytes(recompute=False), rel=0.2)
