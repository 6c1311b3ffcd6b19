"""Pooling: from token states to one vector per text, one function for training, evaluation and serving.

Legend: n texts, t tokens, d dimensions.
"""

from typing import TYPE_CHECKING

from descant.models.encoder import Pooling

if TYPE_CHECKING:
    from torch import Tensor


def pool(states_ntd: "Tensor", attention_nt: "Tensor", target_nt: "Tensor", *, pooling: Pooling) -> "Tensor":
    """float32 [n, d] of unit length from token states, differentiable.

    A text whose pooled state is zero gives the zero vector; see ``pooled_states``.
    """
    import torch

    return torch.nn.functional.normalize(
        pooled_states(states_ntd, attention_nt, target_nt, pooling=pooling), dim=1
    )


def pooled_states(
    states_ntd: "Tensor", attention_nt: "Tensor", target_nt: "Tensor", *, pooling: Pooling
) -> "Tensor":
    """float32 [n, d] of any length from token states, differentiable.

    ``attention_nt`` (bool) tells tokens from padding, which may stand on either side; ``target_nt`` (bool)
    marks the tokens that ``mean`` averages. A text without any such token gives the zero vector; states that
    are not finite give a vector that is not.
    """
    import torch

    if pooling == "mean":
        return _mean(states_ntd, target_nt & attention_nt)
    num_tokens = attention_nt.shape[1]
    positions_t = torch.arange(num_tokens, device=attention_nt.device)
    present_nt = attention_nt.to(positions_t.dtype)
    order_t = num_tokens - positions_t if pooling == "cls" else positions_t + 1
    chosen_n = (present_nt * order_t).argmax(dim=1)
    rows_n = torch.arange(len(states_ntd), device=states_ntd.device)
    return states_ntd[rows_n, chosen_n].float()


def _mean(states_ntd: "Tensor", target_nt: "Tensor") -> "Tensor":
    """The mean over marked tokens; others are set to zero, since multiplying by it would keep NaN."""
    kept_ntd = states_ntd.float().masked_fill(~target_nt.unsqueeze(2), 0.0)
    return kept_ntd.sum(dim=1) / target_nt.sum(dim=1, keepdim=True).clamp(min=1)
