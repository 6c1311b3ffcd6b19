"""A question of scale: how much data, which model, which cluster, and the rates the answer is made of.

Every rate says where it comes from. Nothing here is hashed: a question computes nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from descant.core.errors import ConfigError
from descant.core.spec import Compute, load_spec
from descant.indexes import Exact, Ivf
from descant.run.scale.shape import EncoderShape, Trained

Kind = Literal["measured", "reported", "assumed"]
"""Measured by this project, reported by others, or assumed."""


class Figure(Compute):
    """One number and where it comes from; the unit stands in the name of the field that holds it."""

    kind: Kind
    """Measured by this project, reported by others, or assumed."""
    value: float = Field(gt=0)
    """The number."""
    origin: str = Field(min_length=1)
    """The page or paper it is taken from, or why it is assumed."""


class MeasuredTokens(Compute):
    """A speed seen on some encoder; other encoders are taken to run at the same operations a second."""

    kind: Literal["measured", "reported"]
    """Measured by this project, or reported by others."""
    tokens_per_second: float = Field(gt=0)
    """Tokens without padding, of one device."""
    encoder: EncoderShape
    """What ran."""
    trained: Trained
    """What of it was trained; ``nothing`` where it only encoded."""
    text_tokens: float = Field(gt=0)
    """Mean tokens of a text."""
    origin: str = Field(min_length=1)
    """The page it is taken from."""


class ShareOfPeak(Compute):
    """A speed nobody measured: the vendor's peak, and how much of it is hoped for."""

    kind: Literal["assumed"]
    """Assumed."""
    peak_teraflops: float = Field(gt=0)
    """10^12 operations a second that the vendor states for dense matrices in the encoder's number format."""
    share: float = Field(gt=0, le=1)
    """Share of the peak that the operations counted in ``shape`` reach, those of recomputed activations too."""
    origin: str = Field(min_length=1)
    """Where the peak is stated, and why this share."""


Throughput = Annotated[MeasuredTokens | ShareOfPeak, Field(discriminator="kind")]


class Rates(Compute):
    """How fast one of each thing is, and what it costs when it stops."""

    encode: Throughput
    """Forward passes of one device."""
    train: Throughput
    """Forward and backward passes of one device."""
    gigaflops_per_index_worker: Figure
    """10^9 operations a second (a product and a sum are two) of one worker that searches an index."""
    pairs_per_mining_worker: Figure
    """Pairs of a query and one of the pool that BM25 compares a second in one worker."""
    rows_fetched_per_second: Figure
    """Rows that the fetch stage reads, checks and publishes a second; it is one process."""
    megabytes_per_worker: Figure
    """10^6 bytes a second that one worker reads from or writes to the store."""
    megabytes_of_store: Figure
    """10^6 bytes a second of the store, all workers together."""
    start_seconds: Figure
    """Before a stage of several parts does anything: processes and imports."""
    model_start_seconds: Figure
    """The same for a stage that encodes, its model included."""
    train_start_seconds: Figure
    """Before the first step of a training."""
    save_seconds: Figure
    """A checkpoint, during which training stands still."""
    restart_seconds: Figure
    """From a failure to the first step after the last checkpoint."""
    failures_per_device_hour: Figure
    """Unplanned interruptions of a job for each hour of each device."""
    price_per_device_hour: Figure
    """Of one device with its share of the node, in the currency of your bill."""
    bytes_per_id_checked: Figure
    """Memory of the fetch stage for each row, to find ids that come twice."""
    bytes_per_id_listed: Figure
    """Memory of the evaluation for each passage, to name what was found."""
    bytes_per_part: Figure
    """Of a manifest, for each part it lists."""
    seconds_per_part: Figure
    """To read that entry again, with the file beside it."""


class Corpus(Compute):
    """What is searched."""

    documents: int = Field(ge=1)
    """Passages."""
    tokens: float = Field(gt=0)
    """Mean tokens of one, as the encoder sees them."""
    bytes: float = Field(gt=0)
    """Mean bytes of one in the store."""
    passages_per_part: int = Field(ge=1)
    """As in the recipe."""
    rows_per_shard: int = Field(ge=1)
    """Vectors in one shard of the index."""


class Queries(Compute):
    """What is asked."""

    number: int = Field(ge=1)
    """Judged queries."""
    pool: int = Field(ge=1)
    """Training queries that examples are chosen from, for themselves and for the judged ones."""
    tokens: float = Field(gt=0)
    """Mean tokens of one without examples."""
    k: int = Field(ge=0)
    """In-context examples of each."""
    example_tokens: float = Field(ge=0)
    """Mean tokens that an example adds."""
    top_k: int = Field(ge=1)
    """Passages retrieved for each."""

    @property
    def prompt_tokens(self) -> float:
        """Mean tokens of a query with its examples."""
        return self.tokens + self.k * self.example_tokens


class Training(Compute):
    """One training of the encoder, with in-context examples."""

    rows: int = Field(ge=1)
    """Training queries with their examples."""
    epochs: int = Field(ge=1)
    """Passes over the rows."""
    passages_per_row: int = Field(ge=1)
    """The relevant passage and the hard negatives."""
    global_batch: int = Field(ge=1)
    """Rows of an optimiser step."""
    contrast_batch: int = Field(ge=1)
    """Rows scored against each other; spread over all devices, they are in memory at once."""
    trained: Literal["adapter", "all"]
    """An adapter over frozen weights, or all weights."""
    adapter_parameters: int = Field(ge=0)
    """Trained numbers of the adapter."""
    zero: int = Field(ge=0, le=3)
    """DeepSpeed ZeRO stage."""
    gradient_checkpointing: bool
    """Whether activations are recomputed."""


class Cluster(Compute):
    """What it runs on."""

    devices: int = Field(ge=1)
    """GPUs, or CPU cores where there are none; encoding and training use all of them."""
    device_gigabytes: float = Field(gt=0)
    """10^9 bytes of memory of one device."""
    tokens_per_batch: int = Field(ge=1)
    """Padded tokens that a device encodes at a time, as in a compute profile."""
    cpu_workers: int = Field(ge=1)
    """Workers that index, search and mine on CPUs."""
    worker_gigabytes: float = Field(gt=0)
    """10^9 bytes of memory that each of these has."""
    driver_gigabytes: float = Field(gt=0)
    """10^9 bytes of memory of the machine that runs the command."""


class Question(Compute):
    """One file of ``clusters/scale``."""

    title: str
    """One line."""
    corpus: Corpus
    """What is searched."""
    queries: Queries
    """What is asked."""
    encoder: EncoderShape
    """The encoder."""
    index: Annotated[Exact | Ivf, Field(discriminator="kind")]
    """The index, as in a recipe."""
    training: Training
    """One training."""
    cluster: Cluster
    """What it runs on."""
    rates: Rates
    """How fast."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Question":
        batch, training = self.training.contrast_batch, self.training
        if batch % self.cluster.devices:
            raise ValueError(
                f"contrast_batch = {batch} cannot be split evenly over {self.cluster.devices} devices"
            )
        if training.global_batch % batch:
            raise ValueError(f"contrast_batch = {batch} does not divide global_batch")
        if self.rates.encode.kind != "assumed" and self.rates.encode.trained != "nothing":
            raise ValueError("rates.encode was measured in training; that belongs to rates.train")
        if self.rates.train.kind != "assumed" and self.rates.train.trained == "nothing":
            raise ValueError("rates.train was measured without training; that belongs to rates.encode")
        return self


def load_question(path: Path, overrides: Sequence[str] = ()) -> Question:
    """Read a file of ``clusters/scale``, with each ``a.b=c`` on top.

    Raises ConfigError where it is missing, or not exactly a question.
    """
    if not path.is_file():
        raise ConfigError(
            "E-CFG-SCALE",
            str(path),
            "there is no such question of scale",
            "Nothing was started. See clusters/scale/*.yaml.",
        )
    return load_spec(Question, path, overrides)
