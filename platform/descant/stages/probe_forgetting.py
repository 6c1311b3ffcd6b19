"""How well a language model still predicts plain text that no task is made of: bits per byte of a fixed probe.

The difference between a fine-tuned model and its base says what training on a task has cost elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from descant.artifacts.commit import publish
from descant.artifacts.tables import read_table, write_table
from descant.core.errors import NumericsError
from descant.core.records import Rejected
from descant.core.spec import Compute
from descant.data.pinned import FileLocation, HubFile, PinnedFiles, file_at, local_file
from descant.data.rows import json_rows
from descant.evaluators.bits_per_byte import bits_per_byte_score
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.compute_bases import BASES, basis_files, reading_bases
from descant.stages.evaluate_task import MODEL, ScoreCompute
from descant.stages.map_parts import map_parts

TEXTS_PER_PART = 64
_COLUMNS = pa.schema(
    [("id", pa.string()), ("nll", pa.float64()), ("bytes", pa.int32()), ("tokens", pa.int32())]
)


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
        if self.stride >= self.model.max_tokens:
            raise ValueError(f"stride = {self.stride} leaves no context in {self.model.max_tokens} tokens")
        return self

    def check(self, compute: Compute) -> None:
        """Raise when model or text is missing."""
        self.model.model.check()
        self.text.require_files()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows-*``: each text's negative log-likelihood in nats, its bytes and tokens."""
        total = len(self.text.texts())
        sizes = {
            f"rows-{number:05d}": min(TEXTS_PER_PART, total - start)
            for number, start in enumerate(range(0, total, TEXTS_PER_PART))
        }
        map_parts(context, _ProbeWork(context, self), sizes, unit="texts")
        paths = [context.folder / context.draft.published(name).path for name in sizes]
        columns = pa.concat_tables([read_table(path) for path in paths]).to_pydict()
        value, (low, high) = bits_per_byte_score(columns["nll"], columns["bytes"], seed=self.seed)
        facts: dict[str, Any] = {
            "texts": total,
            "bytes": sum(columns["bytes"]),
            "tokens": sum(columns["tokens"]),
        }
        facts |= {"bits_per_byte": value, "bits_per_byte_low": low, "bits_per_byte_high": high}
        return Outcome(sizes, facts)


class _ProbeWork:
    def __init__(self, context: StageContext, stage: ProbeForgetting) -> None:
        compute = context.compute
        assert isinstance(compute, ScoreCompute)
        self.folder, self.stage, self.compute = context.folder, stage, compute
        model = context.inputs.get(MODEL)
        self.model_folder = model.path(MODEL) if model is not None else None
        self.bases = basis_files(context.inputs[BASES]) if BASES in context.inputs else {}

    def __call__(self) -> "_ProbeWork":
        from descant.models.causal import load_causal

        device = "cuda" if self.compute.gpus else "cpu"
        with reading_bases(self.bases):
            self.model = load_causal(self.stage.model, folder=self.model_folder, device=device)
        self.texts = self.stage.text.texts()
        return self

    def process(self, name: str) -> int:
        from descant.models.likelihood import text_likelihoods

        start = int(name.removeprefix("rows-")) * TEXTS_PER_PART
        texts = self.texts[start : start + TEXTS_PER_PART]
        scored = text_likelihoods(
            self.model,
            texts,
            max_tokens=self.stage.model.max_tokens,
            stride=self.stage.stride,
            tokens_per_batch=self.compute.tokens_per_batch,
        )
        rows = [
            {"id": str(start + i), "nll": -one.log_likelihood, "bytes": one.bytes, "tokens": one.tokens}
            for i, one in enumerate(scored)
        ]
        for row in rows:
            if row["nll"] != row["nll"] or row["nll"] == float("inf"):
                raise NumericsError(
                    "E-EVAL-NONFINITE",
                    f"text {row['id']}",
                    "its likelihood is not finite",
                    "Set precision: fp32.",
                )
        table = pa.Table.from_pylist(rows, schema=_COLUMNS)
        publish(self.folder, name, lambda path: write_table(table, path), rows=len(rows), suffix=".parquet")
        return len(rows)
