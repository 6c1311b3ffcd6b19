"""What every contrastive loss gets and promises.

Legend: q queries of this worker, n candidate passages of all workers, h embedding size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from descant.core.spec import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ContrastBatch:
    """This worker's queries against the candidates of all workers.

    ``queries_qh`` and ``candidates_nh`` are unit length, float32 or bfloat16, and carry gradients.
    ``positive_q`` (int64) is the row of ``candidates_nh`` that each query must score highest. ``relevant_qn``
    (bool) marks every candidate known to answer the query, its positive included.
    """

    queries_qh: torch.Tensor
    candidates_nh: torch.Tensor
    positive_q: torch.Tensor
    relevant_qn: torch.Tensor


class Loss(Spec, ABC):
    """A function of one contrast batch.

    Promises: the mean over this worker's queries, so that the mean over equal workers is the mean over all
    queries whatever their number; float32; the gradient check holds; rows of padding tokens never matter.
    """

    @abstractmethod
    def __call__(self, batch: ContrastBatch) -> torch.Tensor:
        """The scalar loss, float32."""
