from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from descant.adapters import PromptTuning
from descant.artifacts.models import TinyModel
from descant.core.errors import ConfigError
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.generate import Decoding, Generated, generate
from descant.models.likelihood import next_token_logits

SPEC = CausalSpec(model=TinyModel(architecture="llama", seed=3), max_tokens=64)
PROMPTS = ["what is water", "", "heat and light from the sun and the rock of the earth", "why", "an animal"]
GREEDY = Decoding(max_new_tokens=12)


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return load_causal(SPEC)


def one_by_one(model: CausalModel, decoding: Decoding) -> list[Generated]:
    return [
        generate(model, [prompt], decoding, keys=[str(i)], tokens_per_batch=1)[0]
        for i, prompt in enumerate(PROMPTS)
    ]


def together(model: CausalModel, decoding: Decoding, tokens_per_batch: int = 10_000) -> list[Generated]:
    keys = [str(i) for i in range(len(PROMPTS))]
    return generate(model, PROMPTS, decoding, keys=keys, tokens_per_batch=tokens_per_batch)


def slow_greedy(model: CausalModel, prompt: str, num: int) -> str:
    """Without cache, batch or library."""
    ids = model.encode_prompt(prompt).ids
    start = len(ids)
    for _ in range(num):
        with torch.inference_mode():
            best = int(model.model(torch.tensor([ids])).logits[0, -1].argmax())
        if best in (*model.end_ids, model.pad_id):
            break
        ids = [*ids, best]
    return str(model.tokenizer.decode(ids[start:], skip_special_tokens=True))


def test_greedy_text_equals_the_most_probable_token_each_time(model: CausalModel) -> None:
    assert [one.text for one in together(model, GREEDY)] == [slow_greedy(model, p, 12) for p in PROMPTS]


@pytest.mark.parametrize(
    "decoding",
    [
        GREEDY,
        Decoding(max_new_tokens=12, temperature=1.3, top_p=0.9, seed=5),
        Decoding(max_new_tokens=8, num_beams=3),
        Decoding(max_new_tokens=12, stop=("e", " th")),
    ],
    ids=["greedy", "sampled", "beams", "stopped"],
)
def test_answers_do_not_depend_on_batches(model: CausalModel, decoding: Decoding) -> None:
    alone = one_by_one(model, decoding)
    assert together(model, decoding) == alone
    assert together(model, decoding, tokens_per_batch=100) == alone


def test_sample_depends_on_seed_and_key_alone(model: CausalModel) -> None:
    def drawn(seed: int, key: str) -> str:
        decoding = Decoding(max_new_tokens=12, temperature=1.0, seed=seed)
        return generate(model, ["why"], decoding, keys=[key])[0].text

    torch.manual_seed(1)
    first = drawn(1, "a")
    torch.manual_seed(2)
    assert drawn(1, "a") == first
    assert len({first, drawn(1, "b"), drawn(2, "a")}) == 3


@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_samples_follow_the_tempered_distribution(model: CausalModel, top_p: float) -> None:
    decoding = Decoding(max_new_tokens=1, temperature=0.7, top_p=top_p)
    num = 3000
    drawn = generate(model, ["the"] * num, decoding, keys=[str(i) for i in range(num)])
    ids = torch.tensor([model.encode_prompt("the").ids])
    with torch.inference_mode():
        logits = next_token_logits(model, ids, torch.ones_like(ids))[0, -1].double()
    p = (logits / 0.7).softmax(-1).numpy()
    order = np.argsort(-p)
    kept = order[: int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1]
    expected = np.zeros_like(p)
    expected[kept] = p[kept] / p[kept].sum()
    texts: Counter[str] = Counter()
    for token in kept:
        text = model.tokenizer.decode([int(token)], skip_special_tokens=True)
        texts[text] += expected[token]  # type: ignore[assignment]
    found = Counter(one.text for one in drawn)
    assert set(found) <= set(texts)
    distance = sum(abs(found[text] / num - texts[text]) for text in texts) / 2
    assert distance < 0.1


def test_stop_string_ends_the_text_before_it(model: CausalModel) -> None:
    whole = together(model, GREEDY)[0].text
    stop = whole[4:6]
    (found,) = generate(model, PROMPTS[:1], Decoding(max_new_tokens=12, stop=(stop, "zzz")), keys=["0"])
    assert found.text == whole[: whole.index(stop)]
    assert found.is_finished
    assert found.tokens < 12


def test_stop_string_ends_generation_and_not_the_text_alone(model: CausalModel) -> None:
    whole = together(model, GREEDY)[0].text
    lengths: list[int] = []
    hook = model.model.register_forward_hook(lambda *_: lengths.append(1))
    decoding = Decoding(max_new_tokens=12, stop=(whole[4:6],))
    (found,) = generate(model, PROMPTS[:1], decoding, keys=["0"])
    hook.remove()
    assert len(lengths) == found.tokens < 12


def test_tokens_of_a_text_are_those_behind_its_prompt(model: CausalModel) -> None:
    for found, prompt in zip(together(model, GREEDY), PROMPTS, strict=True):
        assert model.tokenizer.decode(list(found.ids), skip_special_tokens=True) == found.text
        assert not set(found.ids) & set(model.end_ids)
        assert len(found.ids) <= found.tokens <= len(found.ids) + 1, prompt


def test_long_prompt_keeps_its_end(model: CausalModel) -> None:
    (found,) = generate(model, ["x" * 500], GREEDY, keys=["0"])
    assert found.is_cut
    (same,) = generate(model, ["x" * 51], GREEDY, keys=["0"])
    assert (found.text, same.is_cut) == (same.text, False)


def test_answer_without_room_for_a_prompt_is_refused(model: CausalModel) -> None:
    with pytest.raises(ConfigError, match="leaves no prompt"):
        generate(model, ["why"], Decoding(max_new_tokens=63), keys=["0"])


def test_trained_prompt_stands_before_every_text() -> None:
    adapted = load_causal(SPEC)
    adapted.model = PromptTuning(num_virtual_tokens=3).attach(adapted.model, seed=1)
    assert together(adapted, GREEDY) == one_by_one(adapted, GREEDY)
    assert [one.text for one in together(adapted, GREEDY)] == [slow_greedy(adapted, p, 12) for p in PROMPTS]


@pytest.mark.parametrize(
    "settings", [{"top_p": 0.5}, {"temperature": 1.0, "num_beams": 2}, {"stop": ("",)}, {"temperature": -1}]
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Decoding(max_new_tokens=4, **settings)
