"""A causal language model with its tokenizer, and the one place where prompt and continuation become tokens.

Training, likelihood and generation all read ``encode_prompt`` and ``encode_pair``, so that all see the same
prompt. The prompt is tokenised by itself. Spaces at its end belong to the continuation, since a word's space
is part of its token. The continuation's tokens are those that follow the prompt's when both are tokenised as
one string; where a token would reach over the boundary, which no generated text could do, the continuation is
tokenised by itself. lm-eval splits alike, but moves all white space and lets tokens reach over the boundary.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from descant.artifacts.models import AnyModel
from descant.core.errors import ConfigError
from descant.core.spec import Spec
from descant.models.encoder import Precision
from descant.models.folders import checked_adapter, read_trained, with_adapter
from descant.models.load import load_causal_model
from descant.models.new_rows import read_new_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class CausalSpec(Spec):
    """Everything that decides what a causal language model says, but for trained weights and decoding."""

    model: AnyModel
    """The base model."""
    max_tokens: int = Field(512, ge=4)
    """Longest prompt with its continuation, in tokens; a longer prompt loses its beginning."""
    chat: bool = False
    """Write the prompt as a user's turn in the tokenizer's chat template."""
    precision: Precision = "fp32"
    """Number format of weights and activations; likelihoods are float32 by token and summed in float64."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of a prompt and its continuation; the first ``num_prompt``, at least one, are the prompt's."""

    ids: list[int]
    num_prompt: int
    is_cut: bool = False
    """Whether they had more tokens than were allowed."""

    @property
    def num_continuation(self) -> int:
        """Tokens of the continuation."""
        return len(self.ids) - self.num_prompt


class CausalModel:
    """A model with its tokenizer and settings; ``model`` may be replaced by what a method made of it."""

    first_new: int | None = None
    """The first id of the tokens that the base lacks; None where its vocabulary was not extended."""

    def __init__(self, spec: CausalSpec, model: Any, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raise ConfigError where the model cannot do what ``spec`` asks: start, end, length, chat template."""
        self.spec, self.model, self.tokenizer = spec, model, tokenizer
        self.eos_id = tokenizer.eos_token_id
        ends = model.generation_config.eos_token_id
        self.end_ids: list[int] = ends if isinstance(ends, list) else [self.eos_id if ends is None else ends]
        where = type(model).__name__
        if self.eos_id is None:
            raise ConfigError(
                "E-MOD-EOS", where, "the tokenizer has no end-of-text token", "Choose another model."
            )
        if spec.chat and not tokenizer.chat_template:
            raise ConfigError("E-MOD-CHAT", where, "the tokenizer has no chat template", "Set chat: false.")
        limit = getattr(model.config, "max_position_embeddings", None)
        if limit is not None and spec.max_tokens > limit:
            raise ConfigError(
                "E-MOD-LENGTH",
                where,
                f"rows of {spec.max_tokens} tokens are asked for, the model has {limit} positions",
                f"Set max_tokens to {limit} or less.",
            )
        bos = tokenizer.bos_token_id
        self._adds_bos = bos is not None and tokenizer("").input_ids[:1] == [bos]
        self._start = [start_id(tokenizer)]

    @property
    def pad_id(self) -> int:
        """What batches are padded with; always masked."""
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0

    @property
    def device(self) -> Any:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def encode_prompt(self, prompt: str, *, max_tokens: int | None = None) -> Pair:
        """The prompt alone, at most ``max_tokens`` (the spec's, unless given) of its last tokens."""
        start, text, _ = self._split(prompt)
        return self._cut(start, self._tokens(text), [], max_tokens or self.spec.max_tokens)

    def encode_pair(self, prompt: str, continuation: str, *, end: bool = False) -> Pair:
        """Prompt and continuation; with ``end`` the end-of-text token follows, as training wants it.

        What is longer than ``max_tokens`` loses the prompt's beginning (but not its start token) first, then
        the continuation's end.
        """
        start, text, spaces = self._split(prompt)
        continuation = continuation.lstrip(" ") if self.spec.chat else spaces + continuation
        before, whole = self._tokens(text), self._tokens(text + continuation)
        is_split = whole[: len(before)] == before
        after = whole[len(before) :] if is_split else self._tokens(continuation)
        return self._cut(start, before, [*after, *[self.eos_id] * end], self.spec.max_tokens)

    def encode_text(self, text: str) -> list[int]:
        """A start token and the whole text, of any length."""
        return [*self._start, *self._tokens(text)]

    def _split(self, prompt: str) -> tuple[list[int], str, str]:
        """Start tokens, the prompt as it is tokenised, and the spaces taken off its end."""
        if self.spec.chat:
            turns = [{"role": "user", "content": prompt}]
            text: Any = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            return [], text, ""
        text = prompt.rstrip(" ")
        return self._start if self._adds_bos or not text else [], text, prompt[len(text) :]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _cut(self, start: list[int], before: list[int], after: list[int], max_tokens: int) -> Pair:
        room = max(max_tokens - len(start) - len(after), 0 if start else 1)
        kept = [*start, *before[max(0, len(before) - room) :]]
        ids = [*kept, *after][:max_tokens]
        return Pair(ids, len(kept), len(start) + len(before) + len(after) > len(ids))


def start_id(tokenizer: "PreTrainedTokenizerFast") -> int:
    """The token that stands before a text: that of the beginning, or of the end where there is none."""
    found: int = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return found


def load_causal(spec: CausalSpec, *, folder: Path | None = None, device: str = "cpu") -> CausalModel:
    """The model of ``spec`` on ``device``, in evaluation mode, with what ``folder`` adds where it is given: new
    tokens with their rows, an adapter.

    Raises ConfigError where the folder is none, IntegrityError where base, rows or adapter are not what was saved.
    """
    adapter, new = None, None
    if folder is not None:
        settings = read_trained(folder, "causal")
        adapter = checked_adapter(folder, settings, spec.model)
        new = read_new_rows(folder, settings)
    model, tokenizer = load_causal_model(spec.model, precision=spec.precision, device=device, new=new)
    causal = CausalModel(spec, model, tokenizer)
    causal.model = with_adapter(model, adapter, device=device)
    causal.first_new = None if new is None else new.first
    return causal
