"""What a training computes (``Optimisation``, in the recipe) and how it is spread (``TrainCompute``).

The optimiser sees ``global_batch`` rows a step; a retriever's are cut into contrast batches whose rows are scored
against each other. Micro-batch and accumulation follow from these and the number of workers, so workers never change
numbers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from descant.adapters import METHODS, AnyMethod, Method
from descant.core.errors import ConfigError
from descant.core.request import Request
from descant.core.spec import Compute, Spec
from descant.losses import AnyLoss, InfoNce


class Schedule(Spec):
    """How long a training is and how it is stepped, under the Hugging Face names where they have one."""

    global_batch: int = Field(ge=1)
    """Rows per optimiser step, over all workers."""
    num_train_epochs: int = Field(1, ge=1)
    """Passes over the rows."""
    max_steps: int | None = Field(None, ge=1)
    """Optimiser steps after which training stops even inside an epoch."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after warm-up; linear and cosine end at zero."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    base_dropout: bool = False
    """Whether the base model's own dropout is active too, beside that of the method; decoders have none."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decay of matrices; vectors (biases, norms, magnitudes) are not decayed."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay rate of the first moment."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """AdamW's decay rate of the second moment."""
    adam_epsilon: float = Field(1e-8, gt=0)
    """AdamW's term against division by zero."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Norm above which the gradient of a step is scaled down."""
    save_steps: int = Field(50, ge=1)
    """Optimiser steps between checkpoints."""


class Optimisation(Schedule):
    """What all trainings set."""

    method: AnyMethod
    """How the base model is adapted."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    seed: int = Field(0, ge=0)
    """Seed of row order, choice of rows with examples, adapter start and dropout; the job's where it is left out."""

    def seeded(self, seed: int) -> Self:
        """The same with ``seed`` where none was given."""
        return self if "seed" in self.model_fields_set else self.model_copy(update={"seed": seed})

    @property
    def contrast_rows(self) -> int:
        """Rows that must stand together in a step: all of them, unless a subclass cuts the step."""
        return self.global_batch


class TrainSettings(Optimisation):
    """The optimisation of a retriever: rows are scored against each other's passages."""

    loss: AnyLoss = InfoNce()
    """What is minimised."""
    contrast_batch: int | None = Field(None, ge=2)
    """Rows scored against each other's passages; divides ``global_batch``, which it is unless given."""
    num_negatives: int = Field(1, ge=0)
    """Hard negatives per row, the first of its list."""
    share_with_examples: float = Field(0.7, ge=0, le=1)
    """Share of rows whose query keeps its in-context examples (arXiv:2410.20088, appendix A.1: 0.7)."""
    adapt: Literal["both", "queries"] = "both"
    """Whether the adapted model encodes passages too, or these stay as the base has them and need no new index."""

    def identity(self) -> Mapping[str, Any]:
        """Without ``adapt`` where both sides are adapted: such trainings keep their addresses."""
        values = dict(super().identity())
        if self.adapt == "both":
            del values["adapt"]
        return values

    @property
    def contrast_rows(self) -> int:
        """Rows of one contrast batch."""
        return self.contrast_batch or self.global_batch

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.global_batch % self.contrast_rows:
            raise ValueError(
                f"contrast_batch = {self.contrast_batch} does not divide global_batch = {self.global_batch}"
            )
        if self.contrast_rows == 1 and not self.num_negatives:
            raise ValueError("one row a contrast batch and no hard negatives leave nothing to contrast with")
        return self


class TaskTrainSettings(Optimisation):
    """The optimisation of a classifier or a language model on a task."""

    head_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of a classifier's head; that of the adapter unless given."""
    validate_every: int | None = Field(None, ge=1)
    """Steps between scores on the validation rows, which are taken at the end too; never unless given."""


class TextTrainSettings(Optimisation):
    """The optimisation of a language model on plain text, where ``global_batch`` counts sequences, or of an encoder."""

    embeddings_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of the embeddings that train: all of them with method full, else those of new tokens. That of
    the rest unless given."""
    embeddings_first: float = Field(0.0, ge=0, le=1)
    """Share of the steps in which embeddings alone train (arXiv:2406.14670, section 3.2, Learned-Emb: 0.1)."""
    validate_every: int | None = Field(None, ge=1)
    """Steps between scores on validation text, which are taken at the end too; never unless given."""


class TrainCompute(Compute):
    """How a training is spread over workers."""

    workers: int = Field(2, ge=0)
    """Processes, each with a copy (or a shard) of the model; 0 trains in the calling process, without Ray."""
    min_workers: int | None = Field(None, ge=1)
    """Workers with which it begins, or goes on, where the cluster has no room for all; needs ``zero: 0``. All of them
    unless given."""
    cpus_per_worker: float = Field(1, gt=0)
    """Logical CPUs that each worker reserves; also its torch threads."""
    gpus_per_worker: float = Field(0, ge=0, le=1)
    """GPUs that each worker reserves: 0 trains on CPUs, 1 on one GPU each; a lone worker may take a share of one."""
    zero: int = Field(0, ge=0, le=3)
    """DeepSpeed ZeRO stage: 0 copies all, 1 shards optimiser states, 2 gradients too, 3 weights too."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    max_micro_batch: int = Field(64, ge=1)
    """Most rows that one worker can hold at once."""
    packed: bool = False
    """Put several short texts of a language model into one sequence, where they do not see each other."""
    max_failures: int = Field(3, ge=0)
    """Worker failures after which the training is given up; each one resumes from the last checkpoint."""

    @model_validator(mode="after")
    def _has_a_gpu_for_each(self) -> Self:
        refuse_shared_gpu(self.workers, self.gpus_per_worker)
        return self

    @model_validator(mode="after")
    def _can_be_fewer(self) -> Self:
        if self.min_workers is not None and self.min_workers >= self.workers:
            raise ValueError(f"min_workers = {self.min_workers} must be less than workers = {self.workers}")
        if self.min_workers is not None and self.zero:
            raise ValueError(
                f"min_workers needs zero: 0, found zero = {self.zero}: DeepSpeed cannot divide its shards anew"
            )
        return self

    @property
    def request(self) -> Request | None:
        """Its workers, which start together; the process that watches over them reserves nothing."""
        if not self.workers:
            return None
        fewest = self.min_workers or self.workers
        return Request(self.workers, self.cpus_per_worker, self.gpus_per_worker, least=fewest)

    @property
    def ranks(self) -> int:
        """Processes that train, the calling one included; the fewest there may be."""
        return max(1, self.min_workers or self.workers)

    @property
    def all_ranks(self) -> range:
        """Every number of them that there may be: Ray takes as many as fit."""
        return range(self.ranks, max(1, self.workers) + 1)

    def fixed(self, workers: int) -> Self:
        """With so many workers."""
        return self.overridden({"workers": workers, "min_workers": None})

    @property
    def device(self) -> str:
        """Where workers train, as torch names it."""
        return "cuda" if self.gpus_per_worker else "cpu"


def refuse_shared_gpu(workers: int, gpus: float) -> None:
    """Raise ValueError where workers of one training would share a GPU, which NCCL refuses when they connect."""
    if workers > 1 and 0 < gpus < 1:
        raise ValueError(f"{workers} workers with {gpus:g} GPU each would share one: give each a whole GPU")


@dataclass(frozen=True)
class BatchPlan:
    """How a step is computed: ``accumulation`` micro-batches of ``micro_batch`` rows on each of ``workers``."""

    workers: int
    micro_batch: int
    accumulation: int


def plan_batches(settings: TrainSettings, compute: TrainCompute) -> BatchPlan:
    """The split of a step over the fewest workers; ConfigError where it, or that over more, is not there."""
    check_method(settings.method, compute)
    rows, workers = settings.contrast_rows, compute.ranks
    for number in compute.all_ranks:
        if rows % number:
            raise ConfigError(
                "E-TRN-SPLIT",
                f"workers = {number}",
                f"a contrast batch of {rows} rows cannot be split evenly",
                f"Nothing was started. Use one of {_divisors(rows)} workers, or another contrast_batch.",
            )
    micro_batch = rows // workers
    if micro_batch > compute.max_micro_batch:
        raise ConfigError(
            "E-TRN-MICRO",
            f"max_micro_batch = {compute.max_micro_batch}",
            f"{rows} rows over {workers} workers are {micro_batch} each; gradient caching is not there yet",
            "Nothing was started. Lower contrast_batch, or add workers, or raise max_micro_batch.",
        )
    return BatchPlan(workers, micro_batch, settings.global_batch // rows)


def plan_rows(settings: Optimisation, compute: TrainCompute) -> BatchPlan:
    """The split of a step whose rows do not depend on each other: any number of workers will do."""
    check_method(settings.method, compute)
    each = math.ceil(settings.global_batch / compute.ranks)
    micro_batch = min(each, compute.max_micro_batch)
    return BatchPlan(compute.ranks, micro_batch, math.ceil(each / micro_batch))


def check_precision(method: Method, precision: str) -> None:
    """Raise ConfigError where ``method`` splits the base's weights and they would be rounded."""
    if not method.keeps_base and precision != "fp32":
        raise ConfigError(
            "E-TRN-METHOD",
            f"precision = {precision}",
            f"{type(method).__name__} splits the base's weights, which would be rounded anew",
            f"Nothing was started. Set precision: fp32, or use one of {_kinds(lambda m: m.keeps_base)}.",
        )


def check_rows(settings: Optimisation, compute: TrainCompute, precision: str) -> None:
    """Raise ConfigError where rows that do not depend on each other cannot be trained on so."""
    plan_rows(settings, compute)
    check_precision(settings.method, precision)


def check_method(method: Method, compute: TrainCompute) -> None:
    """Raise ConfigError where ``method`` cannot be trained, or not under the ZeRO stage of ``compute``."""
    if method.untrainable:
        raise ConfigError(
            "E-TRN-METHOD",
            f"method {type(method).__name__}",
            f"it cannot be trained here: {method.untrainable}",
            f"Nothing was started. Use one of {_kinds(lambda m: True)}.",
        )
    if compute.zero not in method.zero_stages:
        raise ConfigError(
            "E-TRN-ZERO",
            f"zero = {compute.zero}",
            f"{type(method).__name__} works under ZeRO {', '.join(map(str, method.zero_stages))}",
            f"Nothing was started. Choose one of these stages, or one of "
            f"{_kinds(lambda m: compute.zero in m.zero_stages)}.",
        )


def _kinds(fits: Callable[[type[Method]], bool]) -> str:
    """The kinds of the methods that can be trained and fit."""
    return ", ".join(m.model_fields["kind"].default for m in METHODS if not m.untrainable and fits(m))


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
