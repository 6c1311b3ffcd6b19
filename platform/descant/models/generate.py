"""Decoding: greedy, sampled or by beams, in left-padded batches of similar length over a key-value cache.

The text of a prompt does not depend on what else is decoded: padding is masked, and a sample is drawn with
numbers that belong to its own key. (Batches differ in rounding, which decides only between tokens of equal
probability.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from descant.core.errors import ConfigError
from descant.core.seeds import seed_for
from descant.core.spec import Spec
from descant.models.causal import CausalModel, Pair

if TYPE_CHECKING:
    from torch import Tensor

TOKENS_PER_BATCH = 4096
"""Tokens of prompts and answers in one batch, padding included."""


class Decoding(Spec):
    """How texts are generated. The default takes the most probable token each time."""

    max_new_tokens: int = Field(ge=1)
    """Tokens after which an answer ends in any case."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the most probable token; above, tokens are drawn, from flatter distributions as it grows."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw from the fewest tokens that hold this much of the probability (arXiv:1904.09751)."""
    num_beams: int = Field(1, ge=1)
    """Beams that are searched; 1 is no beam search."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these strings."""
    seed: int = 0
    """Draws samples, each by its own key."""

    @model_validator(mode="after")
    def _is_one_way_to_decode(self) -> Self:
        if self.temperature == 0 and self.top_p < 1:
            raise ValueError("top_p needs a temperature above 0")
        if self.temperature > 0 and self.num_beams > 1:
            raise ValueError("beams are searched at temperature 0")
        if "" in self.stop:
            raise ValueError("a stop string is empty")
        return self


@dataclass(frozen=True, slots=True)
class Generated:
    """An answer: its text without the stop string, and the tokens that were generated for it."""

    text: str
    tokens: int
    ids: tuple[int, ...]
    """Those tokens without the one that ends the text; one that completes a stop string is among them."""
    is_finished: bool
    """Whether it ended by itself or at a stop string, not at ``max_new_tokens``."""
    is_cut: bool
    """Whether the prompt lost its beginning."""


def generate(
    model: CausalModel,
    prompts: Sequence[str],
    decoding: Decoding,
    *,
    keys: Sequence[str],
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Generated]:
    """An answer to each prompt, in the order given; ``keys`` name the prompts and choose their random numbers.

    Prompts keep their last ``spec.max_tokens - max_new_tokens`` tokens. Raises ConfigError where that leaves
    none.
    """
    import torch

    room = model.spec.max_tokens - decoding.max_new_tokens
    if room < 2:
        raise ConfigError(
            "E-MOD-LENGTH",
            f"max_new_tokens = {decoding.max_new_tokens}",
            f"leaves no prompt within max_tokens = {model.spec.max_tokens}",
            "Raise max_tokens or lower max_new_tokens.",
        )
    rows = [model.encode_prompt(prompt, max_tokens=room) for prompt in prompts]
    found: dict[int, Generated] = {}
    was_training = model.model.training
    model.model.eval()
    with torch.inference_mode():
        for chosen in _batches(rows, decoding, tokens_per_batch, padded=not _has_trained_prompt(model.model)):
            answers = _decoded(model, [rows[i] for i in chosen], decoding, [keys[i] for i in chosen])
            found.update(zip(chosen, answers, strict=True))
    model.model.train(was_training)
    return [found[i] for i in range(len(prompts))]


def _has_trained_prompt(model: Any) -> bool:
    """Whether PEFT puts vectors in front of the rows: in front of their padding too, without position ids."""
    return any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())


def _batches(
    rows: Sequence[Pair], decoding: Decoding, tokens_per_batch: int, *, padded: bool
) -> list[list[int]]:
    """Row numbers, longest first; unless ``padded``, those of a batch are equally long."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].ids))
    found = []
    while order:
        longest = len(rows[order[0]].ids)
        size = max(1, tokens_per_batch // ((longest + decoding.max_new_tokens) * decoding.num_beams))
        chosen = [i for i in order[:size] if padded or len(rows[i].ids) == longest]
        found.append(chosen)
        order = order[len(chosen) :]
    return found


def _decoded(
    model: CausalModel, rows: Sequence[Pair], decoding: Decoding, keys: Sequence[str]
) -> list[Generated]:
    import torch
    from transformers import GenerationConfig

    longest = max(len(row.ids) for row in rows)
    ids_nt = torch.full((len(rows), longest), model.pad_id)
    attention_nt = torch.zeros_like(ids_nt)
    for i, row in enumerate(rows):
        ids_nt[i, longest - len(row.ids) :] = torch.tensor(row.ids)
        attention_nt[i, longest - len(row.ids) :] = 1
    processors: list[Any] = []
    if decoding.temperature > 0:
        seeds = [seed_for(decoding.seed, "sample", key) for key in keys]
        numbers = np.stack([np.random.default_rng(s).random(decoding.max_new_tokens) for s in seeds])
        processors.append(_Draw(decoding, numbers, longest))
    criteria: list[Any] = [_Stopped(model.tokenizer, decoding.stop, longest)] if decoding.stop else []
    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        num_beams=decoding.num_beams,
        use_cache=True,
        eos_token_id=model.end_ids,
        pad_token_id=model.pad_id,
    )
    answers_nt = model.model.generate(
        input_ids=ids_nt.to(model.device),
        attention_mask=attention_nt.to(model.device),
        generation_config=config,
        logits_processor=processors,
        stopping_criteria=criteria,
    )[:, longest:]
    return [
        _answer(model, ids, decoding, row.is_cut) for ids, row in zip(answers_nt.tolist(), rows, strict=True)
    ]


def _answer(model: CausalModel, ids: list[int], decoding: Decoding, is_cut: bool) -> Generated:
    """What a row holds before its first end or padding token, and before its first stop string."""
    last = next((i for i, token in enumerate(ids) if token in (*model.end_ids, model.pad_id)), None)
    kept = ids if last is None else ids[:last]
    text = str(model.tokenizer.decode(kept, skip_special_tokens=True))
    stops = [place for stop in decoding.stop if (place := text.find(stop)) >= 0]
    if stops:
        return Generated(text[: min(stops)], len(kept), tuple(kept), True, is_cut)
    return Generated(text, len(kept) + (last is not None), tuple(kept), last is not None, is_cut)


class _Draw:
    """Leaves each row the one token that its own random number draws from its tempered distribution."""

    def __init__(self, decoding: Decoding, numbers: np.ndarray, num_prompt: int) -> None:
        """``numbers``: float64 [rows, steps], uniform in [0, 1)."""
        self.decoding, self.numbers, self.num_prompt = decoding, numbers, num_prompt

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        import torch

        p_nv = (scores.double() / self.decoding.temperature).softmax(dim=-1)
        if self.decoding.top_p < 1:
            sorted_nv, order_nv = p_nv.sort(dim=-1, descending=True, stable=True)
            is_beyond_nv = sorted_nv.cumsum(dim=-1) - sorted_nv >= self.decoding.top_p
            p_nv = p_nv.masked_fill(is_beyond_nv.gather(1, order_nv.argsort(dim=-1)), 0.0)
        cumulative_nv = p_nv.cumsum(dim=-1)
        step = input_ids.shape[1] - self.num_prompt
        numbers_n1 = torch.from_numpy(self.numbers[:, step : step + 1]).to(scores.device)
        drawn_n1 = torch.searchsorted(cumulative_nv, numbers_n1 * cumulative_nv[:, -1:], right=True)
        drawn_n1 = drawn_n1.clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn_n1, 0.0)


class _Stopped:
    """Tells which rows have just completed a stop string in what was generated."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], num_prompt: int) -> None:
        self.tokenizer, self.stop, self.num_prompt = tokenizer, stop, num_prompt
        self.reach = 2 + max(len(text.encode()) for text in stop)  # a token holds at least one byte

    def __call__(self, input_ids: "Tensor", scores: "Tensor", **_: Any) -> "Tensor":
        import torch

        tails = input_ids[:, self.num_prompt :][:, -self.reach :].tolist()
        texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True)
        found = [any(stop in text for stop in self.stop) for text in texts]
        return torch.tensor(found, device=input_ids.device)
