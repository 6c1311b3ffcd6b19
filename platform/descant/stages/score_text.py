"""How well a language model predicts the held-out text of a corpus: bits per byte, whatever its tokenizer."""

from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

import pyarrow.parquet as pq
from pydantic import Field, model_validator

from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate_task import ScoreCompute
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

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows-*`` as ``text_scores`` does."""
        texts = context.inputs["texts"]
        paths = tuple(texts.path(name) for name in texts.names("texts-"))
        read = partial(texts_up_to, paths, split=self.split, max_bytes=self.max_bytes, seed=self.seed)
        return text_scores(context, self.model, read, stride=self.stride, seed=self.seed)


def texts_up_to(paths: tuple[Path, ...], *, split: str, max_bytes: int, seed: int) -> list[str]:
    """The documents of ``split`` of a corpus, in an order of the seed, until they hold ``max_bytes``."""
    found: list[tuple[str, str]] = []
    for path in paths:
        table = pq.read_table(path, filters=[("split", "=", split)], columns=["id", "text"])
        found += zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True)
    found.sort(key=lambda document: seed_for(seed, "score text", document[0]))
    texts: list[str] = []
    num_bytes = 0
    for _, text in found:
        if num_bytes >= max_bytes:
            break
        texts.append(text)
        num_bytes += len(text.encode())
    return texts
