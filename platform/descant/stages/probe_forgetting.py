"""How well a language model still predicts plain text that no task is made of: bits per byte of a fixed probe.

The difference between a fine-tuned model and its base says what training on a task has cost elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from descant.core.records import Rejected
from descant.core.spec import Compute
from descant.data.pinned import FileLocation, HubFile, PinnedFiles, file_at, local_file
from descant.data.rows import json_rows
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.held import Held, held_for_task, rows_within
from descant.stages.text_scores import check_stride, text_scores


class ProbeText(PinnedFiles):
    """The first texts of a file, in order."""

    path: FileLocation
    """JSON lines with a ``text`` each."""
    max_bytes: int = Field(30_000, ge=1)
    """Whole texts are read until they hold this many bytes in UTF-8."""

    def named_files(self) -> Mapping[str, Path | HubFile]:
        """The one file."""
        return {"text": file_at(self.path)}

    def texts(self) -> list[str]:
        """At least one text; lines that cannot be read are left out. Raises DataError for a file without rows."""
        found: list[str] = []
        num_bytes = 0
        for row in json_rows(local_file(self.path)):
            if num_bytes >= self.max_bytes:
                break
            if not isinstance(row, Rejected):
                found.append(row.text("text"))
                num_bytes += len(found[-1].encode())
        return found


class ProbeForgetting(Stage):
    """Score a probe. Inputs: ``model`` for a trained one and ``bases`` where its method uses them."""

    name: ClassVar[str] = "probe_forgetting"
    compute_class: ClassVar[type[Compute]] = ScoreCompute

    model: CausalSpec
    """The language model; its ``max_tokens`` is the width of the window."""
    text: ProbeText
    """What it is to predict."""
    stride: int = Field(ge=1)
    """Tokens by which the window moves on; the rest of it is context for them."""
    seed: int
    """Draws the bootstrap samples."""

    @model_validator(mode="after")
    def _keeps_context(self) -> "ProbeForgetting":
        check_stride(self.stride, self.model)
        return self

    def check(self, compute: Compute) -> None:
        """Raise when model or text is missing."""
        self.model.model.check()
        self.text.require_files()

    def held(self, compute: Compute) -> Held:
        """The model with a batch of the longest rows."""
        assert isinstance(compute, ScoreCompute)
        return held_for_task(self.model, rows_within(compute.tokens_per_batch, self.model.max_tokens))

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows-*`` as ``text_scores`` does."""
        return text_scores(context, self.model, self.text.texts, stride=self.stride, seed=self.seed)
