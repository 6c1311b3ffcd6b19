"""Reading the vectors of an ``embed`` result."""

from collections.abc import Sequence

import numpy as np

from descant.artifacts.store import Artifact
from descant.artifacts.tables import read_table, vectors_of

ADAPTS = "adapts"
"""Fact of embedded queries: ``both``, or ``queries`` where their model leaves passages to its base."""


def read_vectors(encoded: Artifact, names: Sequence[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Ids and float32 [rows, dim] of the parts ``names``, of all by default, in their order."""
    wanted = encoded.names("vectors-") if names is None else names
    parts = [vectors_of(read_table(encoded.path(name))) for name in wanted]
    # a part whose rows were all left out knows no dimension
    filled = [rows for _, rows in parts if len(rows)]
    return [i for ids, _ in parts for i in ids], np.concatenate(filled or [parts[0][1]])


def weights_of(encoded: Artifact) -> str:
    """Whose weights encoded it: the address of a training, or ``base``."""
    return encoded.manifest.inputs.get("model", "base")


def passage_weights_of(queries: Artifact) -> str:
    """Whose weights the passages have that these queries go with: their own, or those of the base alone."""
    return "base" if queries.manifest.facts.get(ADAPTS) == "queries" else weights_of(queries)
