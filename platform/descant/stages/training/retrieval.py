"""The retriever's objective: queries against the passages of their contrast batch."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from descant.artifacts.tables import read_table, vectors_of
from descant.core.errors import DataError
from descant.core.fingerprint import fingerprint
from descant.losses import ContrastBatch
from descant.losses.gather import gather_with_gradient
from descant.models.encode import Encoder
from descant.models.encoder import EncoderSpec
from descant.models.folders import ADAPTER
from descant.models.load import load_model
from descant.stages.training.attach import attach
from descant.stages.training.batches import BatchOrder
from descant.stages.training.bi_encoder import BiEncoder, Tokens, micro_batch
from descant.stages.training.export import save_adapter
from descant.stages.training.objective import Objective, Share, Training
from descant.stages.training.rows import TrainingRow, read_rows
from descant.stages.training.settings import TrainSettings, plan_batches

log = logging.getLogger(__name__)

EXAMPLE_ROWS = 8
"""Rows that a method which starts from data sees at once."""


@dataclass(frozen=True, kw_only=True)
class RetrieverTraining(Training):
    """The fine-tuning of an encoder on rows of ``pair_examples``."""

    settings: TrainSettings
    encoder: EncoderSpec
    vectors: tuple[Path, ...] = ()
    """Tables of passage vectors of the base, where passages are not adapted."""

    def recipe(self) -> str:
        """Fingerprint of everything that changes numbers."""
        return fingerprint({"settings": self.settings, "encoder": self.encoder, "rows": self.rows_digest()})

    def check(self) -> None:
        """Refuse batches that do not fit and rows that cannot be trained on."""
        plan_batches(self.settings, self.compute)
        rows = read_rows(self.rows, num_negatives=self.settings.num_negatives)
        order = BatchOrder([row.task for row in rows], self.settings)
        log.info("%d rows, %d steps of %d", len(rows), order.num_steps, self.settings.global_batch)

    def objective(self) -> "Contrastive":
        """The objective of one worker."""
        return Contrastive(self)


class Contrastive(Objective[Sequence[TrainingRow]]):
    """The settings' loss over contrast batches, each split evenly over the workers."""

    def __init__(self, training: RetrieverTraining) -> None:
        self.settings = settings = training.settings
        self.plan = plan_batches(settings, training.compute)
        self.rows = read_rows(training.rows, num_negatives=settings.num_negatives)
        self.order = BatchOrder([row.task for row in self.rows], settings)
        self.num_steps = self.order.num_steps
        self.encoder = _adapted_encoder(training, self.rows, self.order)
        self.model = self.encoder.model
        self.module = BiEncoder(self.model, training.encoder)
        self.precision = training.encoder.precision
        self.fixed = _fixed_passages(training, self.rows) if settings.adapt == "queries" else None

    def micro_batches(self, step: int) -> list[list[TrainingRow]]:
        """The contrast batches whole: each worker knows all candidates by id."""
        return [[self.rows[row] for row in row_indices] for row_indices in self.order.step(step)]

    def share(self, engine: Any, batch: Sequence[TrainingRow]) -> Share:
        """This worker's queries of a contrast batch against the passages of all workers."""
        size = self.plan.micro_batch
        mine = micro_batch(batch, dist.get_rank() * size, size, encoder=self.encoder, settings=self.settings)
        queries_mh, passages_ph = engine(mine.queries, mine.passages)
        device = queries_mh.device
        if self.fixed is not None:
            found = torch.stack([self.fixed[i] for i in mine.candidate_ids])
            passages_ph = candidates_nh = found.to(device)
        else:
            candidates_nh = gather_with_gradient(passages_ph)
        loss = self.settings.loss(
            ContrastBatch(queries_mh, candidates_nh, mine.positive_q.to(device), mine.relevant_qn.to(device))
        )
        outputs = (queries_mh.detach(), passages_ph.detach())
        return Share(mine.row_ids, loss, self.plan.accumulation, mine.num_tokens, outputs)

    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write the adapter; an earlier one is replaced."""
        save_adapter(
            self.settings.method,
            self.model,
            {name.removeprefix("model."): tensor for name, tensor in state.items()},
            folder / ADAPTER,
            {name.removeprefix("model."): digest for name, digest in start.items()},
        )


def _adapted_encoder(training: RetrieverTraining, rows: Sequence[TrainingRow], order: BatchOrder) -> Encoder:
    """The encoder with its trainable parameters attached."""
    spec = training.encoder
    model, tokenizer = load_model(
        spec.model, precision=spec.precision, attention=spec.attention, device=training.compute.device
    )
    examples = _examples(Encoder(spec, model, tokenizer), rows, order, training.settings)
    return Encoder(spec, attach(training, model, examples), tokenizer)


def _fixed_passages(training: RetrieverTraining, rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
    """float32 [h] of every passage that a row names, by id. Raises DataError where one is missing."""
    wanted = {passage_id for row in rows for passage_id in row.passage_ids}
    found: dict[str, torch.Tensor] = {}
    for path in training.vectors:
        ids, vectors_nh = vectors_of(read_table(path))
        found |= {i: torch.tensor(vector) for i, vector in zip(ids, vectors_nh, strict=True) if i in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise DataError(
            "E-TRN-VECTORS",
            f"passage {missing[0]}",
            f"{len(missing)} of {len(wanted)} passages of the rows have no vector",
            "Nothing was started. Embed the corpus that the rows name.",
        )
    return found


def _examples(
    encoder: Encoder, rows: Sequence[TrainingRow], order: BatchOrder, settings: TrainSettings
) -> Iterator[Tokens]:
    """Queries, then passages, of a few rows at a time in order: for methods that start from data.

    All workers read the same batches, however many they are, so that they start from the same adapter.
    """
    for step in range(order.num_steps):
        for row_indices in order.step(step):
            contrast_rows = [rows[row] for row in row_indices]
            for start in range(0, len(contrast_rows), EXAMPLE_ROWS):
                size = min(EXAMPLE_ROWS, len(contrast_rows) - start)
                batch = micro_batch(contrast_rows, start, size, encoder=encoder, settings=settings)
                yield batch.queries
                if batch.passages is not None:
                    yield batch.passages
