"""A retriever as one folder that describes itself: settings, digest of the base model, and adapter.

The folder holds ``encoder.json`` and, for an adapted encoder, ``adapter/`` as PEFT writes it. The base
model is named, not copied, unless a job has made it; loading refuses a base whose bytes differ from those the adapter
was trained on.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descant.artifacts.models import FolderModel, MadeModel
from descant.core.records import Example, Passage, Query
from descant.models.encode import Encoder, load_encoder
from descant.models.encoder import EncoderSpec
from descant.models.folders import BASE, checked_adapter, included_base, read_settings, write_folder

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

    A base that a job has made is copied into it, since no package or hub has it. Raises IntegrityError or PolicyError
    for an adapter that is no safetensors.
    """
    model = spec.model
    if isinstance(model, MadeModel):
        shutil.copytree(model.locate(), folder / BASE, dirs_exist_ok=True)
        model = FolderModel(path=str(folder / BASE))
    settings: dict[str, Any] = {"encoder": spec.model_dump()}
    if model is not spec.model:
        settings["has_base"] = True
    write_folder(folder, SETTINGS, settings, model, adapter=adapter)


def load_retriever(folder: Path, *, device: str = "cpu") -> Retriever:
    """The retriever of ``folder`` on ``device``.

    Raises ConfigError where ``folder`` is none, IntegrityError where the base model or the adapter is not
    the one that was saved, and whatever loading the base raises.
    """
    settings = read_settings(folder, SETTINGS, "retriever")
    spec = EncoderSpec.model_validate(settings["encoder"])
    base = included_base(folder, settings)
    if base is not None:
        spec = spec.model_copy(update={"model": base})
    adapter = checked_adapter(folder, settings, spec.model)
    return Retriever(load_encoder(spec, adapter=adapter, device=device))
