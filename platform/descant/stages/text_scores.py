"""Plain texts under a language model: the likelihood of each, spread over actors, and bits per byte of all."""

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from descant.artifacts.tables import publish_table, read_table
from descant.core.errors import NumericsError
from descant.evaluators.bits_per_byte import bits_per_byte_score
from descant.models.causal import CausalSpec
from descant.stages.base import Outcome, StageContext
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.map_parts import map_model_parts
from descant.stages.model_input import ModelInput

TEXTS_PER_PART = 64
_COLUMNS = pa.schema(
    [("id", pa.string()), ("nll", pa.float64()), ("bytes", pa.int32()), ("tokens", pa.int32())]
)
Texts = Callable[[], list[str]]
"""Reads the texts, in whichever process needs them."""


def check_stride(stride: int, model: CausalSpec) -> None:
    """Raise ValueError where a window that moves on by ``stride`` tokens keeps no context."""
    if stride >= model.max_tokens:
        raise ValueError(f"stride = {stride} leaves no context in {model.max_tokens} tokens")


def text_scores(context: StageContext, model: CausalSpec, texts: Texts, *, stride: int, seed: int) -> Outcome:
    """Publish ``rows-*``: each text's negative log-likelihood in nats, its bytes and tokens.

    Inputs of the stage: ``model`` for a trained one and ``bases`` where its method uses them. Facts: ``bits_per_byte``
    with its interval, and the numbers of texts, bytes and tokens.
    """
    total = len(texts())
    sizes = {
        f"rows-{number:05d}": min(TEXTS_PER_PART, total - start)
        for number, start in enumerate(range(0, total, TEXTS_PER_PART))
    }
    map_model_parts(context, _Work(context, model, texts, stride), sizes, unit="texts")
    paths = [context.draft.path(name) for name in sizes]
    columns = pa.concat_tables([read_table(path) for path in paths]).to_pydict()
    value, (low, high) = bits_per_byte_score(columns["nll"], columns["bytes"], seed=seed)
    facts: dict[str, Any] = {
        "texts": total,
        "bytes": sum(columns["bytes"]),
        "tokens": sum(columns["tokens"]),
    }
    facts |= {"bits_per_byte": value, "bits_per_byte_low": low, "bits_per_byte_high": high}
    return Outcome(sizes, facts)


class _Work:
    def __init__(self, context: StageContext, spec: CausalSpec, texts: Texts, stride: int) -> None:
        compute = context.compute
        assert isinstance(compute, ScoreCompute)
        self.folder, self.spec, self.read, self.stride = context.folder, spec, texts, stride
        self.compute = compute
        self.input = ModelInput.of(context, gpus=compute.gpus)

    def __call__(self) -> "_Work":
        self.model = self.input.causal(self.spec)
        self.texts = self.read()
        return self

    def process(self, name: str) -> int:
        from descant.models.likelihood import text_likelihoods

        start = int(name.removeprefix("rows-")) * TEXTS_PER_PART
        texts = self.texts[start : start + TEXTS_PER_PART]
        scored = text_likelihoods(
            self.model,
            texts,
            max_tokens=self.spec.max_tokens,
            stride=self.stride,
            tokens_per_batch=self.compute.tokens_per_batch,
        )
        rows = [
            {"id": str(start + i), "nll": -one.log_likelihood, "bytes": one.bytes, "tokens": one.tokens}
            for i, one in enumerate(scored)
        ]
        for number, one in enumerate(scored, start=start):
            if not math.isfinite(one.log_likelihood):
                raise NumericsError(
                    "E-EVAL-NONFINITE",
                    f"text {number}",
                    "its likelihood is not finite",
                    "Set precision: fp32.",
                )
        table = pa.Table.from_pylist(rows, schema=_COLUMNS)
        publish_table(self.folder, name, table)
        return len(rows)
