"""Retrievers that adapt the query side alone: passages keep the vectors that the base gave them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from descant.adapters import Lora
from descant.artifacts.models import TinyModel
from descant.artifacts.tables import vector_table, write_table
from descant.core.errors import DataError
from descant.core.fingerprint import fingerprint
from descant.core.records import Passage
from descant.losses import ContrastBatch
from descant.models.encode import load_encoder
from descant.stages.training.retrieval import RetrieverTraining
from descant.stages.training.rows import read_rows
from descant.stages.training.settings import TrainCompute, TrainSettings
from descant.stages.training.step_log import StepReport
from descant.stages.training.train import run_training
from tests.stages.training.toy import toy_rows, toy_training

STILL: dict[str, Any] = {
    "method": Lora(r=4, lora_dropout=0.0),
    "base_dropout": False,
    "model": TinyModel(architecture="llama"),
    "compute": TrainCompute(workers=0),
}


def base_vectors(training: RetrieverTraining, path: Path) -> dict[str, np.ndarray]:
    texts = {row["positive_id"]: row["positive"] for row in toy_rows(24)}
    for row in toy_rows(24):
        texts |= {
            i: text for i, text in zip(row["negative_ids"], row["negatives"], strict=True) if i not in texts
        }
    encoder = load_encoder(training.encoder)
    vectors = encoder.encode_passages([Passage(i, "", text) for i, text in texts.items()])
    write_table(vector_table(list(texts), vectors), path)
    return dict(zip(texts, vectors, strict=True))


def steps_of(training: RetrieverTraining) -> list[StepReport]:
    reports: list[StepReport] = []
    run_training(training, reports.append)
    return reports


def test_first_loss_is_that_of_the_base_on_both_sides_and_passages_stay(tmp_path: Path) -> None:
    training = toy_training(
        tmp_path / "queries", max_steps=3, adapt="queries", share_with_examples=0.0, **STILL
    )
    vectors = base_vectors(training, tmp_path / "vectors.parquet")
    training = dataclasses.replace(training, vectors=(tmp_path / "vectors.parquet",))
    reports = steps_of(training)

    rows = read_rows(training.rows, num_negatives=1)
    from descant.stages.training.batches import BatchOrder

    chosen = [rows[i] for i in BatchOrder([row.task for row in rows], training.settings).step(0)[0]]
    encoder = load_encoder(training.encoder)
    queries = torch.from_numpy(
        encoder.encode(encoder.token_rows([row.plain for row in chosen], max_tokens=64))
    )
    ids = [i for row in chosen for i in row.passage_ids]
    batch = ContrastBatch(
        queries,
        torch.from_numpy(np.stack([vectors[i] for i in ids])),
        torch.arange(len(chosen)) * 2,
        torch.tensor([[i in row.relevant_ids for i in ids] for row in chosen]),
    )
    assert reports[0].loss == pytest.approx(float(training.settings.loss(batch)), rel=1e-6)
    assert reports[0].tokens < steps_of(toy_training(tmp_path / "both", max_steps=3, **STILL))[0].tokens
    assert reports[1].loss != reports[0].loss


def test_a_passage_without_a_vector_is_named(tmp_path: Path) -> None:
    training = toy_training(tmp_path / "a", max_steps=1, adapt="queries", **STILL)
    write_table(vector_table(["p-0"], np.ones((1, 32), np.float32)), tmp_path / "one.parquet")
    with pytest.raises(DataError, match="have no vector"):
        steps_of(dataclasses.replace(training, vectors=(tmp_path / "one.parquet",)))


def test_settings_that_adapt_both_sides_keep_their_fingerprint() -> None:
    settings = TrainSettings(method=Lora(r=4), learning_rate=1e-3, global_batch=8)
    assert "adapt" not in settings.identity()
    assert fingerprint(settings) != fingerprint(settings.model_copy(update={"adapt": "queries"}))
