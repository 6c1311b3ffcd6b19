"""How well a language model predicts the held-out text of a corpus: bits per byte, whatever its tokenizer."""

from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.held import Held, held_for_task, rows_within
from descant.stages.split_text import texts_up_to
from descant.stages.text_scores import check_stride, text_scores


class ScoreText(Stage):
    """Score held-out text. Inputs: ``texts``, split; ``model`` and ``bases`` as ``text_scores`` takes them."""

    name: ClassVar[str] = "score_text"
    compute_class: ClassVar[type[Compute]] = ScoreCompute

    model: CausalSpec
    """The language model; its ``max_tokens`` is the width of the window."""
    split: Literal["validation", "test"] = "validation"
    """Which documents."""
    max_bytes: int = Field(ge=1)
    """Whole documents are taken, in an order of the seed, until they hold this many bytes in UTF-8."""
    stride: int = Field(ge=1)
    """Tokens by which the window moves on; the rest of it is context for them."""
    seed: int
    """Orders the documents and draws the bootstrap samples."""

    @model_validator(mode="after")
    def _keeps_context(self) -> Self:
        check_stride(self.stride, self.model)
        return self

    def check(self, compute: Compute) -> None:
        """Raise when the model is missing."""
        self.model.model.check()

    def held(self, compute: Compute) -> Held:
        """The model with a batch of the longest rows."""
        assert isinstance(compute, ScoreCompute)
        return held_for_task(self.model, rows_within(compute.tokens_per_batch, self.model.max_tokens))

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows-*`` as ``text_scores`` does."""
        read = partial(
            texts_up_to, context.inputs["texts"], self.split, max_bytes=self.max_bytes, seed=self.seed
        )
        return text_scores(context, self.model, read, stride=self.stride, seed=self.seed)
