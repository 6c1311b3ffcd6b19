"""The trained module: queries and passages go through it in one call, so that DeepSpeed averages gradients.

Calling the inner model past the engine would leave every worker with gradients of its own.

Legend: m rows of one worker, h embedding size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from descant.data.prompts import PromptedText
from descant.models.encode import Encoder, forward_pooled
from descant.models.encoder import EncoderSpec
from descant.stages.training.batches import keeps_examples
from descant.stages.training.rows import TrainingRow
from descant.stages.training.settings import TrainSettings

Tokens = Mapping[str, torch.Tensor]


class BiEncoder(torch.nn.Module):
    """Both sides of a retriever under the same weights."""

    def __init__(self, model: torch.nn.Module, spec: EncoderSpec) -> None:
        super().__init__()
        self.model, self.spec = model, spec

    def forward(self, queries: Tokens, passages: Tokens | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Unit vectors of both, float32 [m, h] and [m * passages per row, h]; of what is there."""
        queries_mh = forward_pooled(self.model, queries, self.spec)
        return queries_mh, None if passages is None else forward_pooled(self.model, passages, self.spec)


@dataclass(frozen=True)
class MicroBatch:
    """This worker's rows of a contrast batch as tokens, and what it knows of all rows' candidates.

    Passages stand row by row, each row's positive first; candidates are the passages of all workers in that
    order.
    """

    row_ids: tuple[str, ...]
    queries: Tokens
    passages: Tokens | None
    """None where passages are not encoded in training."""
    candidate_ids: tuple[str, ...]
    positive_q: torch.Tensor
    relevant_qn: torch.Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens of this worker, padding not counted."""
        sides = [self.queries] if self.passages is None else [self.queries, self.passages]
        return sum(int(side["attention_mask"].sum()) for side in sides)


def micro_batch(
    contrast_rows: Sequence[TrainingRow], start: int, size: int, *, encoder: Encoder, settings: TrainSettings
) -> MicroBatch:
    """Rows ``start`` to ``start + size`` of a contrast batch, ready for the model."""
    mine = contrast_rows[start : start + size]
    queries = [row.prompt if keeps_examples(row.id, settings) else row.plain for row in mine]
    texts = [PromptedText(text, 0) for row in mine for text in row.passages]
    is_encoded = settings.adapt == "both"
    candidate_ids = [passage_id for row in contrast_rows for passage_id in row.passage_ids]
    per_row = 1 + settings.num_negatives
    return MicroBatch(
        row_ids=tuple(row.id for row in mine),
        queries=encoder.tokenise(queries, max_tokens=encoder.spec.max_query_tokens),
        passages=encoder.tokenise(texts, max_tokens=encoder.spec.max_passage_tokens) if is_encoded else None,
        candidate_ids=tuple(candidate_ids),
        positive_q=torch.arange(start, start + size) * per_row,
        relevant_qn=torch.tensor([[i in row.relevant_ids for i in candidate_ids] for row in mine]),
    )
