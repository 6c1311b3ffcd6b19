"""Fitting prompts into a number of tokens: examples are shortened or dropped, the target query is kept.

Everything is measured on the joined text, because tokens may merge where two pieces meet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from descant.core.records import Example
from descant.data.prompts import Prompt, PromptedText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Spans = Sequence[tuple[int, int]]
"""Where each token of a text begins and ends, in characters; special tokens are (0, 0)."""


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits, its number of examples, and whether even the target alone was too long."""

    prompted: PromptedText
    num_examples: int
    is_target_cut: bool


def fit_prompt(
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerFast",
    query: str,
    examples: Sequence[Example],
    *,
    max_tokens: int,
) -> FittedPrompt:
    """``fit_prompts`` for one query."""
    return fit_prompts(prompt, tokenizer, [query], [examples], max_tokens=max_tokens)[0]


def fit_prompts(
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerFast",
    queries: Sequence[str],
    examples: Sequence[Sequence[Example]],
    *,
    max_tokens: int,
) -> list[FittedPrompt]:
    """One prompt per query of at most ``max_tokens`` tokens, special ones included, in the order given.

    Each example's passage is cut to the prompt's budget first; then whole examples are dropped from the
    front until the rest fits, so the target query is never cut for an example's sake. A target too long by
    itself stands alone, to be cut on the right by whoever tokenises it.
    """
    shortened = _shortened(tokenizer, examples, prompt.max_example_tokens)
    kept = [list(row) for row in shortened]
    rendered = [prompt.render_query(query, row) for query, row in zip(queries, kept, strict=True)]
    pending: Sequence[int] = range(len(rendered))
    cut: set[int] = set()
    while pending:
        overlong = _overlong(tokenizer, rendered, pending, max_tokens)
        cut |= {i for i in overlong if not kept[i]}
        pending = [i for i in overlong if kept[i]]
        for i in pending:
            num_to_drop = _num_to_drop(prompt, kept[i], overlong[i], len(overlong[i]) - max_tokens)
            kept[i] = kept[i][num_to_drop:]
            rendered[i] = prompt.render_query(queries[i], kept[i])
    return [
        FittedPrompt(text, len(row), i in cut)
        for i, (text, row) in enumerate(zip(rendered, kept, strict=True))
    ]


def _overlong(
    tokenizer: "PreTrainedTokenizerFast",
    rendered: Sequence[PromptedText],
    rows: Sequence[int],
    max_tokens: int,
) -> Mapping[int, Spans]:
    """The rows among ``rows`` whose text has more than ``max_tokens`` tokens, each with its tokens' spans."""
    spans = token_spans(tokenizer, [rendered[i].text for i in rows], special=True)
    return {i: found for i, found in zip(rows, spans, strict=True) if len(found) > max_tokens}


def _num_to_drop(prompt: Prompt, examples: Sequence[Example], spans: Spans, num_excess: int) -> int:
    """The fewest examples from the front that hold ``num_excess`` tokens, those reaching beyond counted."""
    start = end = len(prompt.render_head())
    for n, example in enumerate(examples, start=1):
        end += len(prompt.render_example(example))
        if sum(start <= begin < end for begin, _ in spans) >= num_excess:
            return n
    return len(examples)


def token_spans(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], *, special: bool) -> list[Spans]:
    """The spans of the tokens of each text, with or without the special tokens, nothing cut."""
    encoded: Any = tokenizer(
        list(texts),
        add_special_tokens=special,
        return_offsets_mapping=True,
        return_attention_mask=False,
        padding=False,
        truncation=False,
        verbose=False,
    )
    return list(encoded["offset_mapping"])


def _shortened(
    tokenizer: "PreTrainedTokenizerFast", examples: Sequence[Sequence[Example]], max_tokens: int
) -> list[list[Example]]:
    passages = list(dict.fromkeys(example.passage for row in examples for example in row))
    spans = token_spans(tokenizer, passages, special=False) if passages else []
    short = {
        passage: passage[: found[max_tokens - 1][1]] if len(found) > max_tokens else passage
        for passage, found in zip(passages, spans, strict=True)
    }
    return [[Example(example.query, short[example.passage]) for example in row] for row in examples]
