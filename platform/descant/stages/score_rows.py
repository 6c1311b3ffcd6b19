"""Rows of a prepared task under a model: what it predicts for each, whether that is right, and how sure it is."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table
from descant.core.errors import NumericsError
from descant.data.answers import AnswerForm, final_answer, same_answer
from descant.evaluators.multiple_choice import chosen
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.generate import Decoding
from descant.models.likelihood import Likelihood
from descant.stages.generation import generation_counts
from descant.stages.model_input import ModelInput

ROWS_PER_PART = 256
SCORED = pa.schema(
    [
        ("id", pa.string()),
        ("prediction", pa.string()),
        ("gold", pa.string()),
        ("correct", pa.bool_()),
        ("correct_per_byte", pa.bool_()),
        ("log_likelihoods", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("nll", pa.float64()),
        ("bytes", pa.int32()),
        ("tokens", pa.int32()),
    ]
)
"""A scored row. ``log_likelihoods``: of each class or choice, in nats. ``text``: what was generated. ``nll``: of the
right class or of the response wanted, which has ``bytes`` and ``tokens``. Null where it was not asked for."""

Scored = list[dict[str, Any]]


class ScoreWork(ABC):
    """The work on one part, ``rows-00003`` being the fourth ``ROWS_PER_PART`` rows of ``split``."""

    def __init__(
        self, folder: Path, data: Artifact, split: str, tokens_per_batch: int, model: ModelInput
    ) -> None:
        self.folder, self.data, self.split, self.tokens_per_batch = folder, data, split, tokens_per_batch
        self.model = model
        self.cut: set[str] = set()
        self.generation: dict[str, float] = {}

    @abstractmethod
    def load(self) -> None:
        """Load the model, in the process that will use it."""

    @abstractmethod
    def score(self, rows: Sequence[dict[str, Any]]) -> Scored:
        """One scored row for each."""

    def __call__(self) -> "ScoreWork":
        """Itself, loaded."""
        self.load()
        return self

    def process(self, name: str) -> int:
        """Publish the scored rows of one part. Raises NumericsError for a likelihood that is not finite."""
        start = int(name.removeprefix("rows-")) * ROWS_PER_PART
        rows = read_table(self.data.path(self.split)).slice(start, ROWS_PER_PART).to_pylist()
        self.cut, self.generation = set(), {}
        began = time.monotonic()
        scored = self.score(rows)
        facts = {"seconds": time.monotonic() - began, "cut": len(self.cut), **self.generation}
        for row, one in zip(rows, scored, strict=True):
            one["id"] = row["id"]
            _check_finite(one)
        table = pa.table(
            {column: [one.get(column) for one in scored] for column in SCORED.names}, schema=SCORED
        )
        publish_table(self.folder, name, table, facts=facts)
        return len(rows)


class ClassWork(ScoreWork):
    """Rows of texts, pairs or images under a classifier."""

    spec: ClassifierSpec
    labels: Sequence[str]
    seed: int

    def load(self) -> None:
        """Load the classifier; without a trained one its head is new."""
        self.classifier = self.model.classifier(self.spec, len(self.labels), seed=self.seed)

    def score(self, rows: Sequence[dict[str, Any]]) -> Scored:
        """The most probable class of each row."""
        inputs = [_class_input(row) for row in rows]
        encoded = self.classifier.inputs(inputs)
        is_cut = [getattr(one, "is_cut", False) for one in encoded]
        self.cut.update(row["id"] for row, cut in zip(rows, is_cut, strict=True) if cut)
        logits = self.classifier.logits(inputs, tokens_per_batch=self.tokens_per_batch).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return [
            {
                "prediction": self.labels[int(one.argmax())],
                "gold": self.labels[row["label"]],
                "correct": int(one.argmax()) == row["label"],
                "log_likelihoods": one.tolist(),
                "nll": -float(one[row["label"]]),
            }
            for row, one in zip(rows, log_p, strict=True)
        ]


class TextWork(ScoreWork):
    """Prompts under a causal language model."""

    spec: CausalSpec
    is_answered: bool
    """Whether it counts what is chosen or generated."""
    has_bits: bool
    """Whether it counts how likely the responses wanted are."""
    form: AnswerForm
    decoding: Decoding | None
    """How answers are generated; None where the likeliest choice counts."""

    def load(self) -> None:
        """Load the language model."""
        self.causal = self.model.causal(self.spec)

    def score(self, rows: Sequence[dict[str, Any]]) -> Scored:
        """The choice or answer of each row, and the likelihood of its response, where they are asked for."""
        self.known: dict[tuple[str, str], Likelihood] = {}
        scored: Scored = [{} for _ in rows]
        if self.is_answered:
            scored = self._choose(rows) if self.decoding is None else self._answer(rows, self.decoding)
        if self.has_bits:
            responses = self._likelihoods(rows, [(row["prompt"], row["response"]) for row in rows])
            for one, response in zip(scored, responses, strict=True):
                one |= {"nll": -response.log_likelihood, "bytes": response.bytes, "tokens": response.tokens}
        return scored

    def _choose(self, rows: Sequence[dict[str, Any]]) -> Scored:
        pairs = [(row["prompt"], choice) for row in rows for choice in row["choices"]]
        found = iter(self._likelihoods([row for row in rows for _ in row["choices"]], pairs))
        scored = []
        for row in rows:
            choices = row["choices"]
            likelihoods = [next(found) for _ in choices]
            best = chosen(choices, likelihoods, by="sum")
            scored.append(
                {
                    "prediction": choices[best],
                    "gold": choices[row["gold"]],
                    "correct": best == row["gold"],
                    "correct_per_byte": chosen(choices, likelihoods, by="byte") == row["gold"],
                    "log_likelihoods": [one.log_likelihood for one in likelihoods],
                }
            )
        return scored

    def _answer(self, rows: Sequence[dict[str, Any]], decoding: Decoding) -> Scored:
        from descant.models.generate import generate

        began = time.monotonic()
        answers = generate(
            self.causal,
            [row["prompt"] for row in rows],
            decoding,
            keys=[row["id"] for row in rows],
            tokens_per_batch=self.tokens_per_batch,
        )
        self.generation = generation_counts(
            answers,
            seconds=time.monotonic() - began,
            special_ids=set(self.causal.tokenizer.all_special_ids),
            first_new=self.causal.first_new,
        )
        self.cut.update(row["id"] for row, one in zip(rows, answers, strict=True) if one.is_cut)
        scored = []
        for row, one in zip(rows, answers, strict=True):
            found = final_answer(self.form, one.text, row["answer"])
            is_right = same_answer(self.form, found, row["answer"])
            scored.append({"prediction": found, "gold": row["answer"], "correct": is_right, "text": one.text})
        return scored

    def _likelihoods(
        self, rows: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]]
    ) -> list[Likelihood]:
        """Of each pair; the right choice is a response too, and is not computed again."""
        from descant.models.likelihood import log_likelihoods

        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        likelihoods = log_likelihoods(self.causal, new, tokens_per_batch=self.tokens_per_batch)
        self.known |= dict(zip(new, likelihoods, strict=True))
        found = [self.known[pair] for pair in pairs]
        self.cut.update(row["id"] for row, one in zip(rows, found, strict=True) if one.is_cut)
        return found


def _class_input(row: dict[str, Any]) -> Any:
    if "image" in row:
        return row["image"]
    return row["text"] if row["pair"] is None else (row["text"], row["pair"])


def _check_finite(scored: dict[str, Any]) -> None:
    values = [*(scored.get("log_likelihoods") or []), scored.get("nll") or 0.0]
    if not all(math.isfinite(value) for value in values):
        raise NumericsError(
            "E-EVAL-NONFINITE",
            scored["id"],
            "its likelihood is not finite",
            "Nothing was published for its part. Check the model's training, or set precision: fp32.",
        )
