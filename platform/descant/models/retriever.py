"""A retriever as one folder that describes itself: settings, digest of the base model, and adapter.

The folder holds ``encoder.json`` and, for an adapted encoder, ``adapter/`` as PEFT writes it. The base
model is named, not copied; loading refuses a base whose bytes differ from those the adapter was trained on.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descant.core.records import Example, Passage, Query
from descant.models.encode import Encoder, load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.folders import checked_adapter, read_settings, write_folder

SETTINGS = "encoder.json"


class Retriever:
    """Encodes queries and documents as the training did; vectors are float32 [n, dim] of unit length."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def encode_queries(
        self, queries: Sequence[str | Query], examples: Sequence[Sequence[Example]] | None = None
    ) -> np.ndarray:
        """One vector per query, each with its own in-context examples where they are given."""
        texts = [query.text if isinstance(query, Query) else query for query in queries]
        return self.encoder.encode_queries(texts, examples)

    def encode_documents(self, documents: Sequence[str | Passage]) -> np.ndarray:
        """One vector per document; a plain text is a passage without a title."""
        passages = [Passage("", "", text) if isinstance(text, str) else text for text in documents]
        return self.encoder.encode_passages(passages)


def save_retriever(folder: Path, spec: EncoderSpec, *, adapter: Path | None = None) -> None:
    """Write ``folder``, whose settings come last, so that a half-written one is refused.

    Raises IntegrityError or PolicyError for an adapter that is no safetensors.
    """
    write_folder(folder, SETTINGS, {"encoder": spec.model_dump()}, spec.model, adapter=adapter)


def load_retriever(folder: Path, *, device: str = "cpu") -> Retriever:
    """The retriever of ``folder`` on ``device``.

    Raises ConfigError where ``folder`` is none, IntegrityError where the base model or the adapter is not
    the one that was saved, and whatever loading the base raises.
    """
    settings = read_settings(folder, SETTINGS, "retriever")
    spec = EncoderSpec.model_validate(settings["encoder"])
    adapter = checked_adapter(folder, settings, spec.model)
    return Retriever(load_encoder(spec, adapter=adapter, device=device))
