"""Let a language model continue held-out texts: samples to look at, and how fast it writes."""

import time
from functools import partial
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from descant.artifacts.tables import publish_table
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.generation import generation_counts, generation_facts
from descant.stages.held import Held, held_for_task, rows_within
from descant.stages.map_parts import map_model_parts
from descant.stages.model_input import ModelInput
from descant.stages.split_text import texts_up_to
from descant.stages.text_scores import Texts

ROWS = "rows"
PROMPT_CHARACTERS = 80
"""How much of a text is given, up to the end of a word."""


class ContinueTexts(Stage):
    """Continue validation texts. Inputs: ``texts``, split; ``model`` and ``bases`` as ``text_scores`` takes them."""

    name: ClassVar[str] = "continue_texts"
    compute_class: ClassVar[type[Compute]] = ScoreCompute

    model: CausalSpec
    """The language model."""
    num_texts: int = Field(ge=1)
    """How many texts are continued, the first in an order of the seed."""
    max_new_tokens: int = Field(ge=1)
    """Most tokens of a continuation, each the most probable one."""
    seed: int
    """Orders the texts."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing."""
        self.model.model.check()

    def held(self, compute: Compute) -> Held:
        """The model with a batch of the longest rows."""
        assert isinstance(compute, ScoreCompute)
        return held_for_task(self.model, rows_within(compute.tokens_per_batch, self.model.max_tokens))

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows``: prompt, continuation and its tokens.

        Facts: those of ``generation``, of one actor after it has written once.
        """
        texts = context.inputs["texts"]
        read = partial(texts_up_to, texts, "validation", max_bytes=1 << 62, seed=self.seed)
        map_model_parts(context, _Work(context, self, read), {ROWS: self.num_texts}, unit="texts")
        return Outcome([ROWS], generation_facts([context.draft.published(ROWS).facts]))


class _Work:
    def __init__(self, context: StageContext, stage: ContinueTexts, read: Texts) -> None:
        compute = context.compute
        assert isinstance(compute, ScoreCompute)
        self.folder, self.stage, self.compute, self.read = context.folder, stage, compute, read
        self.input = ModelInput.of(context, gpus=compute.gpus)

    def __call__(self) -> "_Work":
        self.model = self.input.causal(self.stage.model)
        return self

    def process(self, name: str) -> int:
        from descant.models.generate import Decoding, generate

        prompts = [beginning(text) for text in self.read()[: self.stage.num_texts]]
        decoding = Decoding(max_new_tokens=self.stage.max_new_tokens)
        size = self.compute.tokens_per_batch
        generate(self.model, prompts[:1], decoding, keys=["warm"], tokens_per_batch=size)
        began = time.monotonic()
        keys = [str(number) for number in range(len(prompts))]
        written = generate(self.model, prompts, decoding, keys=keys, tokens_per_batch=size)
        seconds = time.monotonic() - began
        rows = [
            {"prompt": prompt, "text": one.text, "tokens": one.tokens}
            for prompt, one in zip(prompts, written, strict=True)
        ]
        facts = generation_counts(
            written,
            seconds=seconds,
            special_ids=set(self.model.tokenizer.all_special_ids),
            first_new=self.model.first_new,
        )
        table = pa.Table.from_pylist(rows)
        publish_table(self.folder, name, table, facts=facts)
        return len(rows)


def beginning(text: str) -> str:
    """The first words of a text: about ``PROMPT_CHARACTERS`` characters."""
    start = " ".join(text[: 2 * PROMPT_CHARACTERS].split())[:PROMPT_CHARACTERS]
    return start.rsplit(" ", 1)[0]
