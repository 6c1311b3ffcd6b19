from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from descant.artifacts.models import TinyModel
from descant.core.errors import ConfigError, PolicyError
from descant.core.records import Example, Passage
from descant.data.prompts import Prompt, PromptedText
from descant.models.encode import Encoder, load_encoder, vector_faults
from descant.models.encoder import Attention, EncoderSpec, Pooling
from descant.models.tiny import Architecture

WORDS = ["the", "water", "cells", "energy", "sun", "why", "what", "is", "body", "blood", "rock", "force"]
SETTINGS: list[tuple[Architecture, Pooling, Attention]] = [
    ("bert", "cls", "native"),
    ("bert", "mean", "native"),
    ("bert", "last_token", "causal"),
    ("llama", "mean", "bidirectional"),
    ("llama", "last_token", "native"),
    ("llama", "eos", "native"),
]


def spec_of(architecture: Architecture, pooling: Pooling, attention: Attention = "native") -> EncoderSpec:
    return EncoderSpec(
        model=TinyModel(architecture=architecture),
        pooling=pooling,
        attention=attention,
        max_query_tokens=64,
        max_passage_tokens=48,
    )


@pytest.fixture(params=SETTINGS, ids=lambda setting: "-".join(setting))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(spec_of(*request.param))


def passages(count: int) -> list[Passage]:
    generator = np.random.default_rng(5)
    return [
        Passage(str(i), "", " ".join(generator.choice(WORDS, size=generator.integers(1, 60))))
        for i in range(count)
    ]


def test_vectors_depend_on_neither_batch_nor_order(encoder: Encoder) -> None:
    corpus = passages(23)
    alone = np.concatenate([encoder.encode_passages([passage]) for passage in corpus])
    for tokens_per_batch in (1, 100, 10_000):
        together = encoder.encode_passages(corpus, tokens_per_batch=tokens_per_batch)
        np.testing.assert_allclose(together, alone, atol=1e-6)
    backwards = encoder.encode_passages(corpus[::-1], tokens_per_batch=200)
    np.testing.assert_allclose(backwards[::-1], alone, atol=1e-6)


def test_vectors_are_float32_of_unit_length_and_differ(encoder: Encoder) -> None:
    vectors = encoder.encode_passages(passages(8))
    assert vectors.shape == (8, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vector_faults(vectors) == {}
    assert (vectors @ vectors.T)[~np.eye(8, dtype=bool)].max() < 0.9999


def test_training_and_encoding_give_the_same_vectors(encoder: Encoder) -> None:
    corpus = passages(5)
    texts = [encoder.spec.prompt.render_passage(passage) for passage in corpus]
    vectors = encoder.forward_pooled(encoder.tokenise(texts, max_tokens=48))
    assert vectors.requires_grad
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode_passages(corpus), atol=1e-6)


@pytest.mark.parametrize(("pooling", "attention"), [("mean", "bidirectional"), ("eos", "native")])
def test_padding_on_the_left_gives_the_same_vectors(pooling: Pooling, attention: Attention) -> None:
    encoder = load_encoder(spec_of("llama", pooling, attention))
    texts = [PromptedText(passage.text, 0) for passage in passages(5)]
    batch = encoder.tokenise(texts, max_tokens=48)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    left = {
        name: torch.stack([row.roll(len(row) - n) for row, n in zip(rows, lengths, strict=True)])
        for name, rows in batch.items()
    }
    torch.testing.assert_close(encoder.forward_pooled(left), encoder.forward_pooled(batch), atol=1e-6, rtol=0)


def test_mean_vector_of_a_prompt_averages_the_target_s_states_only() -> None:
    encoder = load_encoder(spec_of("bert", "mean"))
    text = PromptedText("query: sun\n\nwhy is water", len("query: sun\n\n"))
    batch = encoder.tokenise([text], max_tokens=48)
    tokens = encoder.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    with torch.no_grad():
        states = encoder.model(input_ids=batch["input_ids"]).last_hidden_state[0].numpy()
    expected = states[tokens.index("why") : tokens.index("water") + 1].mean(axis=0)
    np.testing.assert_allclose(
        encoder.encode(encoder.token_rows([text], max_tokens=48))[0],
        expected / np.linalg.norm(expected),
        atol=1e-6,
    )


def test_query_vectors_follow_their_examples(encoder: Encoder) -> None:
    queries = ["why is the sun", "what is water"]
    shown = [Example("what is energy", "the plants")]
    plain = encoder.encode_queries(queries)
    mixed = encoder.encode_queries(queries, [shown, []])
    np.testing.assert_allclose(mixed[1], plain[1], atol=1e-6)
    if encoder.spec.pooling != "cls" or encoder.spec.attention == "native":
        assert abs(mixed[0] - plain[0]).max() > 1e-4


def test_query_with_too_many_examples_is_fitted_not_cut(encoder: Encoder) -> None:
    shown = [Example("what is energy", "the plants " * 6)] * 9
    (fitted,) = encoder.prompt_queries(["why is the sun"], [shown])
    assert 0 < fitted.num_examples < 9
    batch = encoder.tokenise([fitted.prompted], max_tokens=encoder.spec.max_query_tokens)
    pooled = batch["input_ids"][0][batch["pool_mask"][0]]
    target = str(encoder.tokenizer.decode(pooled, skip_special_tokens=True))
    assert target.lower().endswith("why is the sun")


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode_passages([]).shape == (0, encoder.dim)
    assert encoder.encode_queries([]).shape == (0, encoder.dim)


def test_empty_text_gives_a_vector_or_a_named_fault(encoder: Encoder) -> None:
    vectors = encoder.encode_passages([Passage("1", "", ""), Passage("2", "", "water")])
    assert set(vector_faults(vectors)) <= {0}


def test_encoding_leaves_the_training_mode_as_it_was() -> None:
    encoder = load_encoder(spec_of("bert", "mean"))
    encoder.model.train()
    first = encoder.encode_passages(passages(4))
    assert encoder.model.training
    np.testing.assert_array_equal(encoder.encode_passages(passages(4)), first)


def test_bf16_vectors_are_near_the_fp32_ones() -> None:
    exact = load_encoder(spec_of("bert", "mean"))
    short = load_encoder(exact.spec.model_copy(update={"precision": "bf16"}))
    cosines = (exact.encode_passages(passages(9)) * short.encode_passages(passages(9))).sum(axis=1)
    assert 0.99 < cosines.min() < 0.9999999


@pytest.mark.parametrize(
    ("weight", "reason"), [(float("nan"), "nonfinite"), (float("inf"), "nonfinite"), (0.0, "zero_norm")]
)
def test_vectors_of_a_broken_model_are_named_row_by_row(weight: float, reason: str) -> None:
    encoder = load_encoder(spec_of("bert", "mean"))
    with torch.no_grad():
        encoder.model.encoder.layer[-1].output.LayerNorm.weight.fill_(weight)
    assert vector_faults(encoder.encode_passages(passages(2))) == {0: reason, 1: reason}


def test_fault_in_one_text_leaves_its_neighbours_alone() -> None:
    encoder = load_encoder(spec_of("bert", "mean"))
    corpus = [Passage("1", "", "water"), Passage("2", "", "blood the sun"), Passage("3", "", "the sun")]
    expected = encoder.encode_passages(corpus)
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight[encoder.tokenizer.convert_tokens_to_ids("blood")] = (
            torch.nan
        )
    vectors = encoder.encode_passages(corpus)
    assert vector_faults(vectors) == {1: "nonfinite"}
    np.testing.assert_allclose(vectors[[0, 2]], expected[[0, 2]], atol=1e-6)


def test_adapter_changes_vectors_and_reloads_to_the_same(tmp_path: Path) -> None:
    spec = spec_of("bert", "mean")
    trained = adapted(load_encoder(spec))
    expected = trained.encode_passages(passages(6))
    trained.model.save_pretrained(tmp_path)
    loaded = load_encoder(spec, adapter=tmp_path)
    np.testing.assert_allclose(loaded.encode_passages(passages(6)), expected, atol=1e-6)
    assert abs(load_encoder(spec).encode_passages(passages(6)) - expected).max() > 1e-3


def test_pickled_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(PolicyError, match="pickle"):
        load_encoder(spec_of("bert", "mean"), adapter=tmp_path)


def test_eos_pooling_without_such_a_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="no end-of-text token"):
        load_encoder(spec_of("bert", "eos"))


def test_texts_longer_than_the_model_are_refused() -> None:
    spec = spec_of("bert", "mean").model_copy(update={"max_query_tokens": 2000})
    with pytest.raises(ConfigError, match="1024 positions"):
        load_encoder(spec)


def test_cls_pooling_under_causal_attention_is_refused() -> None:
    with pytest.raises(ValidationError, match="the first token sees no other"):
        EncoderSpec(model=TinyModel(), pooling="cls", attention="causal", prompt=Prompt())


def adapted(encoder: Encoder) -> Encoder:
    """The encoder with a LoRA adapter whose weights are not zero."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(encoder.model, LoraConfig(r=2, target_modules=["query", "value"]))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return Encoder(encoder.spec, model.eval(), encoder.tokenizer)
