import math
from typing import Any

import pytest
import torch

from descant.adapters import PromptTuning
from descant.artifacts.models import TinyModel
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.likelihood import (
    Likelihood,
    bits_per_byte,
    log_likelihoods,
    mean_bits_per_byte,
    text_likelihoods,
    windows,
)

SPEC = CausalSpec(model=TinyModel(architecture="llama"), max_tokens=64)
TEXTS = [
    ("what is water", " energy"),
    ("", "the sun"),
    ("heat and light from the sun ", "ğ in the cells of animals and plants"),
    ("a", "b"),
    ("nothing follows", ""),
]


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return load_causal(SPEC)


def slow_log_likelihood(model: CausalModel, ids: list[int], first: int) -> float:
    """One forward over all tokens before each scored one, in float64."""
    total = 0.0
    for place in range(first, len(ids)):
        with torch.inference_mode():
            logits = model.model(torch.tensor([ids[:place]])).logits[0, -1].double()
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


def test_log_likelihoods_equal_one_forward_for_each_token(model: CausalModel) -> None:
    found = log_likelihoods(model, TEXTS)
    for (prompt, continuation), one in zip(TEXTS, found, strict=True):
        pair = model.encode_pair(prompt, continuation)
        expected = slow_log_likelihood(model, pair.ids, pair.num_prompt)
        assert one.log_likelihood == pytest.approx(expected, abs=1e-5)
        assert one.bytes == len(continuation.encode())
        assert one.tokens == pair.num_continuation
    assert found[-1] == Likelihood(0.0, 0, 0)


@pytest.mark.parametrize("tokens_per_batch", [1, 40, 10_000])
def test_log_likelihoods_do_not_depend_on_batches(model: CausalModel, tokens_per_batch: int) -> None:
    alone = [log_likelihoods(model, [text])[0].log_likelihood for text in TEXTS]
    found = log_likelihoods(model, TEXTS, tokens_per_batch=tokens_per_batch)
    assert [one.log_likelihood for one in found] == pytest.approx(alone, abs=1e-5)


def test_trained_prompt_is_no_text(model: CausalModel) -> None:
    adapted = load_causal(SPEC)
    adapted.model = PromptTuning(num_virtual_tokens=3).attach(adapted.model, seed=1)
    together = [one.log_likelihood for one in log_likelihoods(adapted, TEXTS)]
    for (prompt, continuation), found in zip(TEXTS, together, strict=True):
        pair = adapted.encode_pair(prompt, continuation)
        assert found == pytest.approx(slow_log_likelihood(adapted, pair.ids, pair.num_prompt), abs=1e-5)


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [(1, []), (3, [(0, 3, 1)]), (4, [(0, 4, 1)]), (9, [(0, 4, 1), (2, 6, 4), (4, 8, 6), (5, 9, 8)])],
)
def test_windows_of_four_tokens_by_two(num_tokens: int, expected: list[Any]) -> None:
    assert windows(num_tokens, max_tokens=4, stride=2) == expected


@pytest.mark.parametrize(("max_tokens", "stride"), [(8, 7), (8, 1), (5, 3), (64, 32)])
def test_text_likelihoods_score_each_token_once_after_its_window(
    model: CausalModel, max_tokens: int, stride: int
) -> None:
    texts = ["the sun is a star and water is in the cells", "", "ğ", "x" * max_tokens]
    found = text_likelihoods(model, texts, max_tokens=max_tokens, stride=stride)
    for text, one in zip(texts, found, strict=True):
        ids = model.encode_text(text)
        total, end = 0.0, max_tokens
        for place in range(1, len(ids)):
            while place >= end:
                end += stride
            begin = max(0, min(end, len(ids)) - max_tokens)
            total += slow_log_likelihood(model, ids[begin : place + 1], place - begin)
        assert one.log_likelihood == pytest.approx(total, abs=2e-5)
        assert (one.tokens, one.bytes) == (len(ids) - 1, len(text.encode()))
    mean = -sum(one.log_likelihood for one in found) / math.log(2) / sum(one.bytes for one in found)
    assert bits_per_byte(model, texts, max_tokens=max_tokens, stride=stride) == pytest.approx(mean, rel=1e-6)


def test_bits_per_byte_by_hand() -> None:
    scored = [Likelihood(-3 * math.log(2), 2, 4), Likelihood(-5 * math.log(2), 1, 12)]
    assert mean_bits_per_byte(scored) == pytest.approx(0.5)


def test_stride_as_wide_as_the_window_is_refused(model: CausalModel) -> None:
    with pytest.raises(ValueError, match="stride of 8"):
        text_likelihoods(model, ["a"], max_tokens=8, stride=8)
