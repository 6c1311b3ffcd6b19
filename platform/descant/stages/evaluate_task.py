"""Score a model on one split of a prepared task, row by row."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from descant.artifacts.store import Artifact
from descant.artifacts.tables import read_table
from descant.core.errors import ConfigError
from descant.core.spec import Compute
from descant.data.pieces import Pieces
from descant.evaluators.bits_per_byte import bits_per_byte_score
from descant.evaluators.classification import class_score, confusion
from descant.evaluators.statistics import Interval, bootstrap_interval
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.generate import Decoding
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.generation import generation_facts
from descant.stages.held import Held, held_for_task, rows_within
from descant.stages.map_parts import MapCompute, map_model_parts
from descant.stages.model_input import ModelInput
from descant.stages.score_overlap import OVERLAP, publish_overlap
from descant.stages.score_rows import ROWS_PER_PART, ClassWork, ScoreWork, TextWork

TaskMeasure = Literal[
    "accuracy",
    "accuracy_per_byte",
    "exact_match",
    "macro_f1",
    "matthews",
    "bits_per_byte",
    "spbleu",
    "chrf",
]
_CLASS: tuple[TaskMeasure, ...] = ("accuracy", "macro_f1", "matthews")
_CHOICE: tuple[TaskMeasure, ...] = ("accuracy", "accuracy_per_byte", "bits_per_byte")
_ANSWER: tuple[TaskMeasure, ...] = ("accuracy", "exact_match", "bits_per_byte")
_TEXT: tuple[TaskMeasure, ...] = ("exact_match", "bits_per_byte", *OVERLAP)


class ScoreCompute(MapCompute):
    """How scoring is spread."""

    tokens_per_batch: int = Field(2048, ge=64)
    """Padded tokens in one batch, those to be generated included: more on a GPU."""


class EvaluateTask(Stage):
    """Score one model. Inputs: ``data``, ``model`` for a trained one and ``bases`` where its method uses them."""

    name: ClassVar[str] = "evaluate_task"
    compute_class: ClassVar[type[Compute]] = ScoreCompute

    model: ClassifierSpec | CausalSpec
    """The model: a classifier for classes, a causal language model for texts."""
    split: Literal["train", "validation", "test"]
    """The rows that are scored."""
    measures: tuple[TaskMeasure, ...] = Field(min_length=1)
    """What is computed over them."""
    decoding: Decoding | None = None
    """How answers are generated; only for tasks that are scored so."""
    pieces: Pieces | None = None
    """The model that cuts texts for ``spbleu``."""
    seed: int
    """Draws the bootstrap samples, and the head of a classifier that was not trained."""

    @model_validator(mode="after")
    def _pieces_for_spbleu(self) -> Self:
        if ("spbleu" in self.measures) != (self.pieces is not None):
            raise ValueError("spbleu and pieces go together: it counts the pieces of a SentencePiece model")
        return self

    def identity(self) -> Mapping[str, Any]:
        """Without ``pieces`` where there are none."""
        return {k: v for k, v in super().identity().items() if k != "pieces" or v is not None}

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.model.check()

    def held(self, compute: Compute) -> Held:
        """The model with a batch of the longest rows."""
        assert isinstance(compute, ScoreCompute)
        return held_for_task(self.model, rows_within(compute.tokens_per_batch, self.model.max_tokens))

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows-*``, the scored rows in the order of the data (see ``score_rows.SCORED``).

        Measures of overlap have a part of their own name beside them (see ``score_overlap.COUNTED``).
        """
        data = context.inputs["data"]
        total = data.part(self.split).rows
        starts = range(0, total, ROWS_PER_PART)
        sizes = {
            f"rows-{number:05d}": min(ROWS_PER_PART, total - start) for number, start in enumerate(starts)
        }
        map_model_parts(context, self._work(context, data), sizes, unit="rows")
        parts = [context.draft.published(name) for name in sizes]
        table = pa.concat_tables([read_table(context.folder / part.path) for part in parts])
        seconds = sum(part.facts["seconds"] for part in parts)
        facts: dict[str, Any] = {
            "rows": total,
            "cut": sum(part.facts["cut"] for part in parts),
            "seconds": round(seconds, 2),
            "measures": list(self.measures),
            **generation_facts([part.facts for part in parts]),
        }
        labels = data.manifest.facts.get("labels", [])
        for measure in self.measures:
            if measure == "spbleu" or measure == "chrf":
                value, (low, high) = publish_overlap(context, table, measure, self.pieces, seed=self.seed)
            else:
                value, (low, high) = _score(table, measure, labels, self.seed)
            facts |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
        return Outcome([*sizes, *(measure for measure in self.measures if measure in OVERLAP)], facts)

    def _work(self, context: StageContext, data: Artifact) -> ScoreWork:
        compute = context.compute
        assert isinstance(compute, ScoreCompute)
        facts = data.manifest.facts
        model = ModelInput.of(context, gpus=compute.gpus)
        work: ClassWork | TextWork
        arguments = (context.folder, data, self.split, compute.tokens_per_batch, model)
        if isinstance(self.model, ClassifierSpec):
            self._require(facts["family"] in ("classification", "image"), "a causal language model", facts)
            self._require_measures(_CLASS)
            work = ClassWork(*arguments)
            work.spec, work.labels, work.seed = self.model, facts["labels"], self.seed
        else:
            self._require(facts["family"] == "text", "a classifier", facts)
            is_generated = facts["scored_by"] == "generation"
            is_text = facts["answer_form"] == "verbatim"
            self._require_measures(_TEXT if is_text else _ANSWER if is_generated else _CHOICE)
            self._require(is_generated == (self.decoding is not None), "another way of decoding", facts)
            if is_text and self.decoding is not None and not self.decoding.stop:
                raise _endless(self.decoding)
            work = TextWork(*arguments)
            work.spec, work.decoding, work.form = self.model, self.decoding, facts["answer_form"]
            work.has_bits = "bits_per_byte" in self.measures
            work.is_answered = set(self.measures) != {"bits_per_byte"}
        return work

    def _require(self, fits: bool, instead: str, facts: Mapping[str, Any]) -> None:
        if not fits:
            found = f"family {facts['family']}, scored by {facts.get('scored_by', 'class')}"
            raise ConfigError(
                "E-EVAL-TASK",
                f"evaluate_task ({type(self.model).__name__}, decoding: {self.decoding is not None})",
                f"the task is of {found}",
                f"Nothing was scored. It needs {instead}.",
            )

    def _require_measures(self, known: tuple[TaskMeasure, ...]) -> None:
        unknown = [measure for measure in self.measures if measure not in known]
        if unknown:
            raise ConfigError(
                "E-EVAL-MEASURE",
                f"measure {unknown[0]}",
                f"is not one of this task's: {', '.join(known)}",
                "Nothing was scored. Choose another.",
            )


def scores_by_id(artifact: Artifact, measure: str) -> dict[str, float]:
    """Each row's part in ``measure`` of an ``evaluate_task`` result, by id.

    1 or 0 for what counts right rows (macro F1 and Matthews among them), the row's own bits per byte or overlap for
    those.
    """
    if measure in OVERLAP:
        rows = read_table(artifact.path(measure))
        return dict(zip(rows.column("id").to_pylist(), rows.column("score").to_pylist(), strict=True))
    table = pa.concat_tables([read_table(artifact.path(name)) for name in artifact.names("rows-")])
    if measure == "bits_per_byte":
        nll, num_bytes = (_column(table, name) for name in ("nll", "bytes"))
        values = nll / np.log(2) / np.maximum(num_bytes, 1)
    else:
        values = _column(table, "correct_per_byte" if measure == "accuracy_per_byte" else "correct")
    return dict(zip(table.column("id").to_pylist(), values.tolist(), strict=True))


def _score(table: pa.Table, measure: TaskMeasure, labels: list[str], seed: int) -> tuple[float, Interval]:
    if measure == "bits_per_byte":
        nll, num_bytes = table.column("nll").to_pylist(), table.column("bytes").to_pylist()
        return bits_per_byte_score(nll, num_bytes, seed=seed)
    if measure in ("macro_f1", "matthews"):
        number = {name: i for i, name in enumerate(labels)}
        gold, called = (
            [number[name] for name in table.column(column).to_pylist()] for column in ("gold", "prediction")
        )
        score = class_score(confusion(gold, called, len(labels)), measure, seed=seed)
        return score.value, score.interval
    values = _column(table, "correct_per_byte" if measure == "accuracy_per_byte" else "correct")
    return float(values.mean()), bootstrap_interval(values, seed=seed)


def _endless(decoding: Decoding) -> ConfigError:
    return ConfigError(
        "E-EVAL-STOP",
        "decoding.stop",
        f"names no string at which an answer ends, so each runs for up to {decoding.max_new_tokens} tokens",
        'Nothing was scored. An answer of this task is one line: set stop: ["\\n"].',
    )


def _column(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table.column(name).to_pylist(), dtype=np.float64)
