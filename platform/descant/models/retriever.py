"""A retriever as one folder that describes itself: settings, digest of the base model, and adapter.

The folder holds ``encoder.json`` and, for an adapted encoder, ``adapter/`` as PEFT writes it. The base
model is named, not copied; loading refuses a base whose bytes differ from those the adapter was trained on.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descant.artifacts.weights import check_safetensors, model_digest, weight_files
from descant.core.errors import ConfigError, IntegrityError
from descant.core.fingerprint import canonical
from descant.core.records import Example, Passage, Query
from descant.models.encode import Encoder, load_encoder
from descant.models.encoder import EncoderSpec

SETTINGS = "encoder.json"
ADAPTER = "adapter"


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
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"encoder": spec.model_dump(), "base": canonical(spec.model.identity())}
    if adapter is not None:
        for path in weight_files(adapter):
            check_safetensors(path)
        shutil.copytree(adapter, folder / ADAPTER, dirs_exist_ok=True)
        settings["adapter_sha256"] = model_digest(folder / ADAPTER)
    draft = folder / f".{SETTINGS}.draft"
    draft.write_text(
        json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(draft, folder / SETTINGS)


def load_retriever(folder: Path, *, device: str = "cpu") -> Retriever:
    """The retriever of ``folder`` on ``device``.

    Raises ConfigError where ``folder`` is none, IntegrityError where the base model or the adapter is not
    the one that was saved, and whatever loading the base raises.
    """
    if not (folder / SETTINGS).is_file():
        raise ConfigError(
            "E-RET-FOLDER", str(folder), f"there is no {SETTINGS}", "Give the folder of a finished retriever."
        )
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    spec = EncoderSpec.model_validate(settings["encoder"])
    spec.model.check()
    _check_same("base model", settings["base"], canonical(spec.model.identity()))
    adapter = folder / ADAPTER if "adapter_sha256" in settings else None
    if adapter is not None:
        _check_same(str(adapter), settings["adapter_sha256"], model_digest(adapter))
    return Retriever(load_encoder(spec, adapter=adapter, device=device))


def _check_same(where: str, expected: object, found: object) -> None:
    if expected != found:
        raise IntegrityError(
            "E-RET-DIGEST",
            where,
            f"found {found}, expected {expected}",
            "Nothing was loaded. Restore the files this retriever was saved with.",
        )
