"""Retrieval measures as values: a name such as ``ndcg_at_10`` and back.

``@`` is not allowed in MLflow metric names, so the spelling is ``ndcg_at_10`` everywhere; the spellings of trec_eval,
sentence-transformers, ranx and ir-measures are understood on input.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

Family = Literal["ndcg", "recall", "mrr", "map", "precision", "success"]

_ALIASES: dict[str, Family] = {
    "ndcg": "ndcg",
    "ndcg_cut": "ndcg",
    "recall": "recall",
    "r": "recall",
    "mrr": "mrr",
    "rr": "mrr",
    "recip_rank": "mrr",
    "map": "map",
    "ap": "map",
    "map_cut": "map",
    "precision": "precision",
    "p": "precision",
    "success": "success",
}
_SPELLING = re.compile(r"^(?:cosine_|dot_)?([a-z_]+?)(?:_at_|@|_)([0-9]+)$")


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """A measure of a ranking with a cutoff; all families here are better when higher, within [0, 1]."""

    family: Family
    cutoff: int

    def __str__(self) -> str:
        return f"{self.family}_at_{self.cutoff}"

    @property
    def label(self) -> str:
        """How people write it: ``nDCG@10``."""
        names = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "precision": "P"}
        return f"{names.get(self.family, self.family)}@{self.cutoff}"


def measure(name: str) -> Measure:
    """Read a measure's name in any of the field's spellings; raise ValueError otherwise."""
    match = _SPELLING.match(name.strip().lower())
    family = _ALIASES.get(match.group(1)) if match else None
    if match is None or family is None or int(match.group(2)) < 1:
        known = ", ".join(f"{f}_at_K" for f in ("ndcg", "recall", "mrr", "map", "precision", "success"))
        raise ValueError(f"{name!r} is not a measure; known: {known}")
    return Measure(family, int(match.group(2)))


def label_of(name: str) -> str:
    """How people write a measure's name, of a ranking or not: ``nDCG@10``, ``bits per byte``."""
    try:
        return measure(name).label
    except ValueError:
        return name.replace("_", " ")


def _normalised(value: Any) -> str:
    return str(measure(str(value)))


MeasureName = Annotated[str, BeforeValidator(_normalised), PlainSerializer(str)]
"""A spec field type: any known spelling in, the house spelling kept."""
