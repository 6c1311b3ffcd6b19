from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.core.records import Example
from descant.data.fit import fit_prompt, fit_prompts
from descant.data.prompts import Prompt
from descant.models.tiny import tiny_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROMPT = Prompt(max_example_tokens=8)
ARCHITECTURES = ("bert", "llama")
TEXTS = st.text(alphabet="the water cells {}\n'é日Query:", max_size=60)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {"bert": tiny_tokenizer("bert"), "llama": tiny_tokenizer("llama")}


def count(tokenizer: "PreTrainedTokenizerFast", text: str, *, special: bool = True) -> int:
    return len(tokenizer(text, add_special_tokens=special)["input_ids"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_prompt_that_fits_is_the_rendered_one(tokenizers: dict[str, Any], architecture: str) -> None:
    examples = [Example("what is water", "the water"), Example("why", "the sun")]
    fitted = fit_prompt(PROMPT, tokenizers[architecture], "how", examples, max_tokens=200)
    assert fitted.prompted == PROMPT.render_query("how", examples)
    assert (fitted.num_examples, fitted.is_target_cut) == (2, False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_example_is_cut_to_its_budget_at_a_token(tokenizers: dict[str, Any], architecture: str) -> None:
    fitted = fit_prompt(
        PROMPT, tokenizers[architecture], "how", [Example("why", "water energy " * 50)], max_tokens=200
    )
    example = fitted.prompted.text[: fitted.prompted.start]
    passage = example.removeprefix("Query: why\nPositive Document: ").removesuffix("\n\n")
    assert "water energy water energy".startswith(passage[:20])
    assert count(tokenizers[architecture], passage, special=False) == 8


def test_prompt_that_is_too_long_loses_its_first_examples(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["bert"]
    examples = [Example("what is water", f"the {word}") for word in ("sun", "air", "rock")]
    last_two = PROMPT.render_query("how", examples[1:])
    limit = count(tokenizer, last_two.text)
    assert fit_prompt(PROMPT, tokenizer, "how", examples, max_tokens=limit).prompted == last_two
    one_less = fit_prompt(PROMPT, tokenizer, "how", examples, max_tokens=limit - 1)
    assert one_less.prompted == PROMPT.render_query("how", examples[2:])
    assert one_less.num_examples == 1


def test_target_too_long_by_itself_stands_alone_and_is_counted(tokenizers: dict[str, Any]) -> None:
    fitted = fit_prompt(PROMPT, tokenizers["bert"], "water " * 30, [Example("why", "sun")], max_tokens=20)
    assert fitted.prompted == PROMPT.render_query("water " * 30)
    assert (fitted.num_examples, fitted.is_target_cut) == (0, True)


def test_batch_of_prompts_equals_one_by_one(tokenizers: dict[str, Any]) -> None:
    queries = ["how", "water " * 40, "why is the sun"]
    examples: list[Sequence[Example]] = [[Example("a", "sun " * 20)] * 3, [Example("b", "c")], []]
    together = fit_prompts(PROMPT, tokenizers["llama"], queries, examples, max_tokens=40)
    alone = [
        fit_prompt(PROMPT, tokenizers["llama"], query, row, max_tokens=40)
        for query, row in zip(queries, examples, strict=True)
    ]
    assert together == alone


@settings(max_examples=80, deadline=None)
@given(
    query=TEXTS,
    pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=4),
    max_tokens=st.integers(20, 160),
    architecture=st.sampled_from(ARCHITECTURES),
)
def test_fitted_prompt_keeps_the_target_and_as_many_examples_as_fit(
    tokenizers: dict[str, Any], query: str, pairs: list[tuple[str, str]], max_tokens: int, architecture: str
) -> None:
    tokenizer = tokenizers[architecture]
    examples = [Example(*pair) for pair in pairs]
    fitted = fit_prompt(PROMPT, tokenizer, query, examples, max_tokens=max_tokens)
    assert fitted.prompted.text.endswith(PROMPT.render_query(query).text)
    assert (count(tokenizer, fitted.prompted.text) > max_tokens) == fitted.is_target_cut
    if fitted.is_target_cut:
        assert fitted.num_examples == 0
    if fitted.num_examples < len(examples):
        wider = fit_prompt(PROMPT, tokenizer, query, examples[-fitted.num_examples - 1 :], max_tokens=10_000)
        assert count(tokenizer, wider.prompted.text) > max_tokens
