"""What each process holds: a device that encodes or trains, a worker that indexes, the machine that runs the command.

ZeRO divides what the optimiser holds over the devices from stage 1 on, gradients from 2 and all weights from 3
(Rajbhandari et al., arXiv:1910.02054, section 5). Buffers of libraries, fragments and the interpreter are left out,
so real peaks are higher.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from descant.indexes import Ivf
from descant.indexes.ivf import SAMPLE_PER_LIST
from descant.run.scale.question import Question
from descant.run.scale.sizes import ADAM_BYTES, centroid_bytes, num_parts, num_shards, trained_parameters

BYTES_PER_HIT = 12
"""A float32 score and an int64 row."""


@dataclass(frozen=True)
class Held:
    """Memory of one process while it does one thing."""

    where: str
    what: str
    num_bytes: float
    limit: float
    """Bytes there are."""

    @property
    def fits(self) -> bool:
        """Whether that is enough."""
        return self.num_bytes <= self.limit


def held(question: Question) -> Iterator[Held]:
    """Every kind of process at its largest."""
    cluster, corpus, queries, rates = question.cluster, question.corpus, question.queries, question.rates
    device, worker, driver = (
        1e9 * size for size in (cluster.device_gigabytes, cluster.worker_gigabytes, cluster.driver_gigabytes)
    )
    batch = cluster.tokens_per_batch * question.encoder.layer_bytes
    yield Held("device", "encode: weights, one layer of a batch", weight_bytes(question) + batch, device)
    for recompute in (False, True):
        how = "recomputed" if recompute else "kept"
        chosen = "" if recompute == question.training.gradient_checkpointing else " (not chosen)"
        size = state_bytes(question) + activation_bytes(question, recompute)
        yield Held("device", f"train: state, activations {how}{chosen}", size, device)
    rows = min(corpus.rows_per_shard + corpus.passages_per_part, corpus.documents)
    shard = 2.0 * rows * question.encoder.vector_bytes + centroid_bytes(question)
    yield Held("CPU worker", "build index: a shard, read and indexed", shard, worker)
    yield Held(
        "driver", "fetch: the check of ids", corpus.documents * rates.bytes_per_id_checked.value, driver
    )
    if isinstance(question.index, Ivf):
        sample = 2.0 * SAMPLE_PER_LIST * centroid_bytes(question)
        yield Held("driver", "build index: the sample for centroids, twice", sample, driver)
    manifest = 2 * num_parts(question) * rates.bytes_per_part.value
    yield Held("driver", "manifests of passages and vectors, as text", manifest, driver)
    hits = float(num_shards(question) * queries.number * queries.top_k * BYTES_PER_HIT)
    listed = corpus.documents * rates.bytes_per_id_listed.value
    yield Held("driver", "search: ids, answers of all shards", listed + hits, driver)


def weight_bytes(question: Question) -> float:
    """Of the encoder with its adapter, on one device."""
    training, encoder = question.training, question.encoder
    adapter = 0 if training.trained == "all" else training.adapter_parameters
    return float((encoder.parameters + adapter) * encoder.bytes_per_number)


def state_bytes(question: Question) -> float:
    """Of weights, gradients and optimiser in a training, on one device."""
    size, devices, zero = question.encoder.bytes_per_number, question.cluster.devices, question.training.zero
    trained = trained_parameters(question)
    weights = weight_bytes(question) / (devices if zero >= 3 else 1)
    gradients = trained * size / (devices if zero >= 2 else 1)
    optimiser = trained * (ADAM_BYTES - 2 * size) / (devices if zero >= 1 else 1)
    return weights + gradients + optimiser


def activation_bytes(question: Question, recompute: bool) -> float:
    """Of the rows of one contrast batch that a device holds, queries and passages, until the backward pass."""
    training = question.training
    rows = training.contrast_batch / question.cluster.devices
    tokens = rows * (question.queries.prompt_tokens + training.passages_per_row * question.corpus.tokens)
    return tokens * question.encoder.activation_bytes(recompute)
