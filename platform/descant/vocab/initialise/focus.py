"""FOCUS: a new row is a mixture of rows that the base has, of tokens used alike in the language (arXiv:2305.14481).

What is used alike is found in an auxiliary space over the tokens of the extended tokenizer, trained here on texts of
the language: positive pointwise mutual information of neighbours, factored (Levy & Goldberg, NIPS 2014), where the
paper takes fastText. Legend: t tokens that occur, k size of the auxiliary space, s shared tokens, n new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.core.seeds import seed_for
from descant.vocab.initialise.base import Initialiser, NewTokens, weighted_rows

if TYPE_CHECKING:
    from torch import Tensor

ROWS_AT_ONCE = 256


class Focus(Initialiser):
    """Rows of shared tokens, mixed by sparsemax of their similarity; a token that does not occur is mean's."""

    kind: Literal["focus"] = "focus"
    """FOCUS."""
    dim: int = Field(128, ge=2)
    """Size of the auxiliary space."""
    window: int = Field(5, ge=1)
    """Tokens on either side that are neighbours."""
    min_count: int = Field(5, ge=1)
    """Shared tokens that occur less are not mixed."""
    temperature: float = Field(0.1, gt=0)
    """Similarities are divided by it: the smaller, the fewer rows are mixed."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """Mixtures for those that occur in the texts."""
        counts = _counts(new.texts)
        is_new = set(new.ids)
        shared = sorted(one for one, count in counts.items() if one not in is_new and count >= self.min_count)
        shared = [one for one in shared if one < len(old_vd)]
        present = [n for n, one in enumerate(new.ids) if one in counts]
        rows_nd = weighted_rows(old_vd, new.parts, [[1.0] * len(parts) for parts in new.parts])
        if not shared or not present:
            return rows_nd
        tokens = [*shared, *(new.ids[n] for n in present)]
        space_tk = auxiliary_space(new.texts, tokens, dim=self.dim, window=self.window, seed=seed)
        shared_sk, new_nk = space_tk[: len(shared)], space_tk[len(shared) :]
        old_sd = old_vd[shared]
        for start in range(0, len(present), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            weights_ns = sparsemax(new_nk[part] @ shared_sk.T / self.temperature)
            rows_nd[present[part]] = weights_ns @ old_sd
        return rows_nd


def auxiliary_space(
    texts: Sequence[Sequence[int]], tokens: Sequence[int], *, dim: int, window: int, seed: int
) -> Tensor:
    """float32 [t, k], rows of unit length: ``tokens`` by what stands around them in ``texts``."""
    import torch

    size, gap = len(tokens), [-1] * window  # so that neighbours are never of two texts
    number = {token: i for i, token in enumerate(tokens)}
    row = torch.tensor([number.get(token, -1) for text in texts for token in (*text, *gap)])
    keys, weights = [], []
    for distance in range(1, window + 1):
        left, right = row[:-distance], row[distance:]
        is_pair = (left >= 0) & (right >= 0)
        left, right = left[is_pair], right[is_pair]
        keys += [left * size + right, right * size + left]
        weights.append(torch.full((2 * len(left),), 1 / distance, dtype=torch.float64))
    key, place = torch.cat(keys).unique(return_inverse=True)
    counts = torch.zeros(len(key), dtype=torch.float64).index_add(0, place, torch.cat(weights))
    left, right = key // size, key % size
    total = counts.sum()
    by_token = torch.zeros(size, dtype=torch.float64).index_add(0, left, counts)
    context = by_token**0.75
    context = context / context.sum()
    information = torch.log(counts / total / (by_token[left] / total) / context[right])
    kept = information > 0
    places = torch.stack([left[kept], right[kept]])
    matrix = torch.sparse_coo_tensor(
        places, information[kept].float(), (size, size), check_invariants=True, is_coalesced=True
    )
    k = min(dim, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "auxiliary space"))
        left_tk, values_k, _ = torch.svd_lowrank(matrix, q=k, niter=4)
    space = left_tk * values_k.sqrt()
    return torch.nn.functional.normalize(space, dim=1)


def sparsemax(scores: Tensor) -> Tensor:
    """float32, shaped as ``scores``: the nearest point of the simplex, row by row (arXiv:1602.02068, algorithm 1)."""
    import torch

    ordered = scores.sort(dim=1, descending=True).values
    sums = ordered.cumsum(1) - 1
    place = torch.arange(1, scores.shape[1] + 1)
    support = (ordered * place > sums).sum(1, keepdim=True)
    threshold = sums.gather(1, support - 1) / support
    return (scores - threshold).clamp(min=0)


def _counts(texts: Sequence[Sequence[int]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for text in texts:
        for token in text:
            counts[token] = counts.get(token, 0) + 1
    return counts
