import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from descant.losses import ContrastBatch
from descant.models.encode import Encoder
from descant.models.load import load_model
from descant.stages.training.bi_encoder import BiEncoder, MicroBatch, micro_batch
from descant.stages.training.retrieval import RetrieverTraining
from descant.stages.training.rows import TrainingRow, read_rows
from tests.stages.training.toy import llama, run, started, toy_training


@pytest.fixture
def training(tmp_path: Path) -> RetrieverTraining:
    return toy_training(tmp_path, num_negatives=2, share_with_examples=0.5)


@pytest.fixture
def encoder(training: RetrieverTraining) -> Encoder:
    return Encoder(training.encoder, *load_model(training.encoder.model))


@pytest.fixture
def rows(training: RetrieverTraining) -> list[TrainingRow]:
    return read_rows(training.rows, num_negatives=2)[:6]


def loss_of(batch: MicroBatch, encoder: Encoder, training: RetrieverTraining) -> torch.Tensor:
    queries, passages = BiEncoder(encoder.model, encoder.spec)(batch.queries, batch.passages)
    return training.settings.loss(ContrastBatch(queries, passages, batch.positive_q, batch.relevant_qn))


def test_micro_batches_of_two_workers_are_the_halves_of_the_contrast_batch(
    training: RetrieverTraining, encoder: Encoder, rows: list[TrainingRow]
) -> None:
    whole = micro_batch(rows, 0, 6, encoder=encoder, settings=training.settings)
    halves = [micro_batch(rows, s, 3, encoder=encoder, settings=training.settings) for s in (0, 3)]
    assert whole.row_ids == halves[0].row_ids + halves[1].row_ids
    assert whole.positive_q.tolist() == [0, 3, 6, 9, 12, 15]
    assert torch.equal(whole.positive_q, torch.cat([half.positive_q for half in halves]))
    assert torch.equal(whole.relevant_qn, torch.cat([half.relevant_qn for half in halves]))
    assert whole.num_tokens == sum(half.num_tokens for half in halves)


def test_candidates_known_to_be_relevant_are_marked_by_id(
    training: RetrieverTraining, encoder: Encoder, rows: list[TrainingRow]
) -> None:
    batch = micro_batch(rows, 0, 6, encoder=encoder, settings=training.settings)
    # row i brings p-i, n-i and p-(i + 2): rows 2 to 5 find their own positive among another row's negatives
    marked = [row.nonzero().flatten().tolist() for row in batch.relevant_qn]
    assert marked == [[0], [3], [2, 6], [5, 9], [8, 12], [11, 15]]


def test_loss_does_not_depend_on_padding(
    training: RetrieverTraining, encoder: Encoder, rows: list[TrainingRow]
) -> None:
    batch = micro_batch(rows, 0, 6, encoder=encoder, settings=training.settings)
    padded = {
        name: torch.cat([tensor, torch.zeros(len(tensor), 7, dtype=tensor.dtype)], dim=1)
        for name, tensor in batch.queries.items()
    }
    wider = dataclasses.replace(batch, queries=padded)
    with torch.no_grad():
        losses = [float(loss_of(b, encoder, training)) for b in (batch, wider)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_share_with_examples_decides_which_text_is_read(
    encoder: Encoder, rows: list[TrainingRow], tmp_path: Path
) -> None:
    for share, texts in ((0.0, [r.plain for r in rows]), (1.0, [r.prompt for r in rows])):
        settings = toy_training(tmp_path, num_negatives=2, share_with_examples=share).settings
        batch = micro_batch(rows, 0, 6, encoder=encoder, settings=settings)
        expected = encoder.tokenise(texts, max_tokens=encoder.spec.max_query_tokens)
        assert torch.equal(batch.queries["input_ids"], expected["input_ids"])


@pytest.mark.parametrize(("base_dropout", "differs"), [(False, False), (True, True)])
def test_dropout_of_the_base_is_active_only_where_it_is_asked_for(
    base_dropout: bool, differs: bool, tmp_path: Path
) -> None:
    still: dict[str, Any] = {"method": llama(tmp_path).settings.method, "base_dropout": base_dropout}
    losses = []
    for seed in (1, 2):
        trainer = started(toy_training(tmp_path, **still))
        torch.manual_seed(seed)
        losses.append(run(trainer, 1)[0].loss)
    assert (losses[0] != losses[1]) == differs
