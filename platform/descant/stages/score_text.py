"""How well a language model predicts the held-out text of a corpus: bits per byte, whatever its tokenizer."""

from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
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
    """The documents of ``split`` of a corpus, in an order of the seed, until they hold ``max_bytes``.

    Beside these, a part at a time is in memory.
    """
    found: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(paths):
        table = _split_of(path, split)
        sizes = pc.binary_length(table.column("text")).to_pylist()
        orders = [seed_for(seed, "score text", one) for one in table.column("id").to_pylist()]
        found += ((order, number, row, sizes[row]) for row, order in enumerate(orders))
    found.sort()
    before = accumulate((size for *_, size in found), initial=0)
    chosen = [place for place, held in zip(found, before, strict=False) if held < max_bytes]
    texts: dict[tuple[int, int], str] = {}
    for number, path in enumerate(paths):
        rows = [row for _, part, row, _ in chosen if part == number]
        if rows:
            kept = _split_of(path, split).column("text").take(rows).to_pylist()
            texts |= {(number, row): text for row, text in zip(rows, kept, strict=True)}
    return [texts[number, row] for _, number, row, _ in chosen]


def _split_of(path: Path, split: str) -> pa.Table:
    return pq.read_table(path, filters=[("split", "=", split)], columns=["id", "text"])
