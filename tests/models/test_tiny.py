import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descant.models.tiny import Architecture, tiny_model, tiny_tokenizer

TOKENIZERS = {"bert": tiny_tokenizer("bert"), "llama": tiny_tokenizer("llama")}


def weights(architecture: Architecture, seed: int) -> list[torch.Tensor]:
    return list(tiny_model(architecture, seed, vocab_size=50).state_dict().values())


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_tiny_model_of_equal_seed_has_equal_weights(architecture: Architecture) -> None:
    torch.manual_seed(1)
    first = weights(architecture, 3)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(architecture, 3), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, weights(architecture, 4), strict=True))


def test_tiny_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    weights("bert", 3)
    assert torch.equal(torch.rand(3), expected)


@given(text=st.text(max_size=30))
def test_tiny_byte_level_tokenizer_of_any_text_loses_nothing(text: str) -> None:
    tokenizer = TOKENIZERS["llama"]
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_tiny_wordpiece_tokenizer_frames_a_text_as_bert_does() -> None:
    tokenizer = TOKENIZERS["bert"]
    assert tokenizer.tokenize("Why waters?", add_special_tokens=True) == [
        "[CLS]",
        "why",
        "water",
        "##s",
        "?",
        "[SEP]",
    ]
