"""How long each stage takes, what it costs and how often it is interrupted.

A stage that works part by part loses at a failure half of the part that the device was at; a training loses what
``simulation`` says; a failure of the driver's own machine is left out. Devices are paid for from the first second to
the last, whether a stage uses them or not. The time to move gradients and sharded weights between devices is in the
measured or assumed speed of training, not apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from descant.indexes import Ivf
from descant.indexes.ivf import SAMPLE_PER_LIST
from descant.run.scale.checkpoints import (
    SECONDS_PER_HOUR,
    best_interval,
    effective_share,
    mttf_seconds,
)
from descant.run.scale.question import Question, ShareOfPeak, Throughput
from descant.run.scale.simulation import Played, play
from descant.run.scale.sizes import index_bytes, num_parts, num_shards, vector_bytes
from descant.stages.embed import QUERIES_PER_PART
from descant.stages.mine_examples import TARGETS_PER_PART

KMEANS_ROUNDS = 20
"""Of ``indexes.ivf``."""
COPIES, SEED = 1000, 0
"""Trainings that are played through."""


@dataclass(frozen=True)
class StageTime:
    """One stage."""

    name: str
    workers: int
    """At work at the same time, never more than there are parts."""
    start: float
    """Seconds before it does anything."""
    computing: float
    """Seconds of arithmetic."""
    moving: float
    """Seconds of reading and writing the store."""
    redone: float = 0.0
    """Seconds lost to failures on average, checkpoints and restarts included."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + self.computing + self.moving + self.redone


@dataclass(frozen=True)
class Checkpointing:
    """How a training is saved."""

    mttf: float
    """Seconds between failures of the whole cluster."""
    interval: float
    """Seconds of work between checkpoints."""
    steps: int
    """Optimiser steps of the training."""
    steps_between: int
    """Optimiser steps in the interval: ``save_steps`` in the recipe, at least 1."""
    formula: float | None
    """Useful share of the time by ``checkpoints``; None where the training ends before its first interval does."""
    played: Played
    """The same training, many times."""


@dataclass(frozen=True)
class Estimate:
    """The answer to a question."""

    stages: Sequence[StageTime]
    checkpointing: Checkpointing
    devices: int
    price: float
    failure_rate: float

    @property
    def seconds(self) -> float:
        """From the first stage to the last."""
        return sum(stage.seconds for stage in self.stages)

    def device_hours(self, seconds: float) -> float:
        """Of the whole cluster in that time."""
        return self.devices * seconds / SECONDS_PER_HOUR

    def cost(self, seconds: float) -> float:
        """Of the whole cluster in that time."""
        return self.price * self.device_hours(seconds)

    def failures(self, seconds: float) -> float:
        """Expected in that time."""
        return self.failure_rate * self.device_hours(seconds)


def operations_per_second(throughput: Throughput) -> float:
    """Of one device, by the count of ``shape``."""
    if isinstance(throughput, ShareOfPeak):
        return throughput.share * throughput.peak_teraflops * 1e12
    return throughput.tokens_per_second * throughput.encoder.operations(
        throughput.text_tokens, throughput.trained
    )


def estimate(question: Question) -> Estimate:
    """Every stage in the order of the job ``finetune_retriever``; raises as ``simulation.play``."""
    corpus, queries, rates = question.corpus, question.queries, question.rates
    encoder = question.encoder
    training, checkpointing = _training(question)
    passages = corpus.documents * corpus.tokens * encoder.operations(corpus.tokens)
    prompts = queries.number * queries.prompt_tokens * encoder.operations(queries.prompt_tokens)
    text, vectors = corpus.documents * corpus.bytes, vector_bytes(question)
    fetched = (corpus.documents + queries.number + queries.pool) / rates.rows_fetched_per_second.value
    stages = [
        StageTime("fetch", 1, 0.0, fetched, 0.0),
        _mined(question),
        training,
        _encoded(question, "embed passages", passages, num_parts(question), text + 2 * vectors),
        _clustered(question),
        _indexed(question),
        _encoded(
            question,
            "embed queries",
            prompts,
            ceil(queries.number / QUERIES_PER_PART),
            2.0 * queries.number * encoder.vector_bytes,
        ),
        _searched(question),
    ]
    return Estimate(
        [stage for stage in stages if stage is not None],
        checkpointing,
        question.cluster.devices,
        rates.price_per_device_hour.value,
        rates.failures_per_device_hour.value,
    )


def training_operations(question: Question) -> float:
    """Of all rows and epochs, each text at its own length."""
    training, queries, corpus = question.training, question.queries, question.corpus

    def text(tokens: float) -> float:
        return tokens * question.encoder.operations(tokens, training.trained, training.gradient_checkpointing)

    row = text(queries.prompt_tokens) + training.passages_per_row * text(corpus.tokens)
    return training.rows * training.epochs * row


def _training(question: Question) -> tuple[StageTime, Checkpointing]:
    rates, training, devices = question.rates, question.training, question.cluster.devices
    work = training_operations(question) / (devices * operations_per_second(rates.train))
    save, restart = rates.save_seconds.value, rates.restart_seconds.value
    mttf = mttf_seconds(devices, rates.failures_per_device_hour.value)
    steps = training.epochs * ceil(training.rows / training.global_batch)
    best = best_interval(save, mttf)
    interval = min(best, work)
    played = play(work, interval, save, restart, mttf, runs=COPIES, seed=SEED)
    checkpointing = Checkpointing(
        mttf=mttf,
        interval=interval,
        steps=steps,
        steps_between=max(1, round(interval * steps / work)),
        formula=effective_share(best, save, restart, mttf) if best < work else None,
        played=played,
    )
    redone = float(np.mean(played.seconds)) - work
    return StageTime("train", devices, rates.train_start_seconds.value, work, 0.0, redone), checkpointing


def _encoded(question: Question, name: str, operations: float, parts: int, moved: float) -> StageTime:
    workers = min(question.cluster.devices, parts)
    computing = operations / (workers * operations_per_second(question.rates.encode))
    return _mapped(question, name, workers, parts, computing, _moving(question, workers, moved))


def _mined(question: Question) -> StageTime | None:
    if not question.queries.k:
        return None
    pool = question.queries.pool
    asked = question.queries.number + pool
    parts = ceil(asked / TARGETS_PER_PART)
    workers = min(question.cluster.cpu_workers, parts)
    seconds = asked * pool / (workers * question.rates.pairs_per_mining_worker.value)
    return _mapped(question, "mine examples", workers, parts, seconds, 0.0)


def _clustered(question: Question) -> StageTime | None:
    index = question.index
    if not isinstance(index, Ivf):
        return None
    operations = 2.0 * KMEANS_ROUNDS * SAMPLE_PER_LIST * index.nlist**2 * question.encoder.width
    reading = _moving(question, 1, vector_bytes(question))
    return StageTime("train centroids", 1, 0.0, operations / _operations_of_worker(question), reading)


def _indexed(question: Question) -> StageTime:
    index, parts = question.index, num_shards(question)
    workers = min(question.cluster.cpu_workers, parts)
    lists = index.nlist if isinstance(index, Ivf) else 0
    assigning = 2.0 * question.corpus.documents * lists * question.encoder.width
    seconds = assigning / (workers * _operations_of_worker(question))
    moved = vector_bytes(question) + 2 * index_bytes(question)
    return _mapped(question, "build index", workers, parts, seconds, _moving(question, workers, moved))


def _searched(question: Question) -> StageTime:
    index, parts, asked = question.index, num_shards(question), question.queries.number
    workers = min(question.cluster.cpu_workers, parts)
    compared = float(question.corpus.documents)
    if isinstance(index, Ivf):
        compared = compared * index.nprobe / index.nlist + parts * index.nlist
    operations = 2.0 * asked * compared * question.encoder.width
    seconds = operations / (workers * _operations_of_worker(question))
    moving = _moving(question, workers, index_bytes(question))
    return _mapped(question, "search", workers, parts, seconds, moving)


def _mapped(
    question: Question, name: str, workers: int, parts: int, computing: float, moving: float
) -> StageTime:
    """A single part is made without starting anything, unless it needs a model."""
    rates = question.rates
    if name.startswith("embed"):
        start = rates.model_start_seconds.value
    else:
        start = rates.start_seconds.value if parts > 1 else 0.0
    part = (computing + moving) * workers / parts
    failures = rates.failures_per_device_hour.value * workers * (computing + moving) / SECONDS_PER_HOUR
    redone = failures * (part / 2 + start) / workers
    return StageTime(name, workers, start, computing, moving, redone)


def _operations_of_worker(question: Question) -> float:
    return question.rates.gigaflops_per_index_worker.value * 1e9


def _moving(question: Question, workers: int, num_bytes: float) -> float:
    """Seconds to read and write that much with so many workers."""
    each, whole = question.rates.megabytes_per_worker.value, question.rates.megabytes_of_store.value
    return num_bytes / (1e6 * min(workers * each, whole))
