"""InfoNCE over in-batch and hard negatives, as RARe (arXiv:2410.20088) and RepLLaMA (arXiv:2310.08319) train.

    loss = - mean over queries of log( exp(s+ / t) / sum over candidates of exp(s / t) )

Legend: q queries of this worker, n candidate passages of all workers, h embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.losses.base import ContrastBatch, Loss

if TYPE_CHECKING:
    import torch


class InfoNce(Loss):
    """Cross-entropy of the positive among all candidates of the contrast batch."""

    kind: Literal["info_nce"] = "info_nce"
    """Which loss this is."""
    temperature: float = Field(0.02, gt=0)
    """What cosine similarities are divided by; RARe uses 0.02 for retrievers and 0.01 for language models."""
    mask_known_positives: bool = True
    """Leave out candidates judged relevant for the query, instead of pushing them away as negatives."""

    def __call__(self, batch: ContrastBatch) -> torch.Tensor:
        """The mean cross-entropy over this worker's queries, float32."""
        import torch
        from torch.nn.functional import cross_entropy

        scores_qn = (batch.queries_qh @ batch.candidates_nh.T).float() / self.temperature
        if self.mask_known_positives:
            own_qn = torch.zeros_like(batch.relevant_qn).scatter_(1, batch.positive_q[:, None], True)
            scores_qn = scores_qn.masked_fill(batch.relevant_qn & ~own_qn, float("-inf"))
        return cross_entropy(scores_qn, batch.positive_q)
