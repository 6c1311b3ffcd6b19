"""Counts and bytes that follow from a question alone."""

from math import ceil

from descant.indexes import Ivf
from descant.run.scale.question import Question

ADAM_BYTES = 16
"""Of a trained parameter: 2 for the weight, 2 for its gradient, 12 for the optimiser with a float32 copy in bf16; 4, 4
and 8 in fp32 (Rajbhandari et al., arXiv:1910.02054, section 3.1)."""


def num_parts(question: Question) -> int:
    """Parts of the corpus, and of its vectors."""
    return ceil(question.corpus.documents / question.corpus.passages_per_part)


def num_shards(question: Question) -> int:
    """Shards of the index: whole parts, at least ``rows_per_shard`` vectors in each except the last."""
    parts_each = ceil(question.corpus.rows_per_shard / question.corpus.passages_per_part)
    return ceil(num_parts(question) / parts_each)


def vector_bytes(question: Question) -> float:
    """Of all vectors of passages."""
    return float(question.corpus.documents * question.encoder.vector_bytes)


def centroid_bytes(question: Question) -> float:
    """Of the centroids of an inverted file; 0 without."""
    index = question.index
    return float(index.nlist * question.encoder.vector_bytes) if isinstance(index, Ivf) else 0.0


def index_bytes(question: Question) -> float:
    """Of all shards: the vectors once more, and the centroids in each."""
    return vector_bytes(question) + num_shards(question) * centroid_bytes(question)


def trained_parameters(question: Question) -> int:
    """Numbers that the optimiser steps."""
    training = question.training
    return question.encoder.parameters if training.trained == "all" else training.adapter_parameters


def checkpoint_bytes(question: Question) -> float:
    """Trained weights and the optimiser's numbers; gradients and frozen weights are not saved."""
    return float(trained_parameters(question) * (ADAM_BYTES - question.encoder.bytes_per_number))
