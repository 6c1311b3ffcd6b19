"""How likely a causal language model finds given texts: log-likelihoods of continuations, bits per byte of texts.

Log-probabilities are natural, computed in float32 (float64 for a model of that type) and summed in float64.

Legend: n rows, t tokens, v vocabulary, m target tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from descant.models.causal import CausalModel, Pair
from descant.models.tokens import TokenRow, batches, padded

if TYPE_CHECKING:
    from torch import Tensor

TOKENS_PER_BATCH = 1024
"""Padded tokens in one batch."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a text is where it stands."""

    log_likelihood: float
    """The sum of its tokens' log-probabilities, in nats; 0 where it is empty."""
    tokens: int
    """Tokens that were scored."""
    bytes: int
    """Its length in UTF-8."""
    is_cut: bool = False
    """Whether prompt or text had more tokens than were allowed."""


def log_likelihoods(
    model: CausalModel, texts: Sequence[tuple[str, str]], *, tokens_per_batch: int = TOKENS_PER_BATCH
) -> list[Likelihood]:
    """The likelihood of each continuation after its prompt, for pairs of both, in the order given.

    See ``CausalModel.encode_pair`` for what is scored. It depends neither on the other pairs nor on
    ``tokens_per_batch``, up to rounding.
    """
    pairs = [model.encode_pair(prompt, continuation) for prompt, continuation in texts]
    sums = _sums(model, [_row(pair) for pair in pairs], tokens_per_batch)
    return [
        Likelihood(float(total), pair.num_continuation, len(continuation.encode()), pair.is_cut)
        for total, pair, (_, continuation) in zip(sums, pairs, texts, strict=True)
    ]


def text_likelihoods(
    model: CausalModel,
    texts: Sequence[str],
    *,
    max_tokens: int,
    stride: int,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Likelihood]:
    """The likelihood of each whole text after a start token, under a window that slides by ``stride`` tokens.

    Every token is scored once: the first ``max_tokens - 1`` together, each later one after at least
    ``max_tokens - stride`` earlier tokens. Raises ValueError unless 1 <= stride < max_tokens.
    """
    if not 1 <= stride < max_tokens:
        raise ValueError(f"a stride of {stride} tokens under a window of {max_tokens}")
    encoded = [model.encode_text(text) for text in texts]
    rows, owners = [], []
    for number, ids in enumerate(encoded):
        for begin, end, first in windows(len(ids), max_tokens=max_tokens, stride=stride):
            rows.append(TokenRow(ids[begin:end], first - begin, end - begin))
            owners.append(number)
    sums = np.zeros(len(texts), dtype=np.float64)
    np.add.at(sums, np.array(owners, dtype=np.int64), _sums(model, rows, tokens_per_batch))
    return [
        Likelihood(float(total), len(ids) - 1, len(text.encode()))
        for total, ids, text in zip(sums, encoded, texts, strict=True)
    ]


def bits_per_byte(
    model: CausalModel,
    texts: Sequence[str],
    *,
    max_tokens: int,
    stride: int,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> float:
    """Bits the model needs for a byte of ``texts`` taken together; see ``text_likelihoods``."""
    return mean_bits_per_byte(
        text_likelihoods(
            model, texts, max_tokens=max_tokens, stride=stride, tokens_per_batch=tokens_per_batch
        )
    )


def mean_bits_per_byte(scored: Sequence[Likelihood]) -> float:
    """All bits over all bytes; raises ValueError where there are none."""
    num_bytes = sum(one.bytes for one in scored)
    if not num_bytes:
        raise ValueError("no bytes were scored")
    return -math.fsum(one.log_likelihood for one in scored) / math.log(2) / num_bytes


def windows(num_tokens: int, *, max_tokens: int, stride: int) -> list[tuple[int, int, int]]:
    """(begin, end, first scored) of each window over ``num_tokens``; token 0 is context only."""
    first, end = 1, min(max_tokens, num_tokens)
    found = []
    while first < num_tokens:
        found.append((max(0, end - max_tokens), end, first))
        first, end = end, min(end + stride, num_tokens)
    return found


def _row(pair: Pair) -> TokenRow:
    return TokenRow(pair.ids, pair.num_prompt, len(pair.ids), pair.is_cut)


def _sums(model: CausalModel, rows: Sequence[TokenRow], tokens_per_batch: int) -> np.ndarray:
    """float64 [rows]: the log-probabilities of each row's target tokens, which never include its first."""
    import torch

    scored = [i for i, row in enumerate(rows) if row.last > row.first]
    sums = np.zeros(len(rows), dtype=np.float64)
    was_training = model.model.training
    model.model.eval()
    with torch.inference_mode():
        for chosen in batches([rows[i] for i in scored], tokens_per_batch=tokens_per_batch):
            numbers = [scored[i] for i in chosen]
            sums[numbers] = _batch_sums(model, [rows[i] for i in numbers])
    model.model.train(was_training)
    return sums


def _batch_sums(model: CausalModel, rows: Sequence[TokenRow]) -> np.ndarray:
    import torch

    batch = padded(rows, pad_id=model.pad_id)
    ids_nt, is_target_nt = batch["input_ids"], batch["pool_mask"][:, 1:]
    earliest = min(row.first for row in rows) - 1
    logits_ntv = next_token_logits(model, ids_nt[:, :-1], batch["attention_mask"][:, :-1], earliest)
    is_target_nt = is_target_nt[:, earliest:].to(logits_ntv.device)
    next_nt = ids_nt[:, 1 + earliest :].to(logits_ntv.device)
    logits_mv = logits_ntv[is_target_nt]
    logits_mv = logits_mv.to(torch.promote_types(logits_mv.dtype, torch.float32))
    log_p_m = logits_mv.log_softmax(dim=-1).gather(1, next_nt[is_target_nt][:, None])[:, 0]
    totals = np.zeros(len(rows), dtype=np.float64)
    owners = is_target_nt.nonzero()[:, 0].cpu().numpy()
    np.add.at(totals, owners, log_p_m.double().cpu().numpy())
    return totals


def next_token_logits(
    model: CausalModel, ids_nt: "Tensor", attention_nt: "Tensor", start: int = 0
) -> "Tensor":
    """[n, t - start, v]: what follows each token from ``start`` on, for rows padded on the right."""
    mask = None if bool(attention_nt.all()) else attention_nt.long().to(model.device)
    kept = ids_nt.shape[1] - start
    output = model.model(input_ids=ids_nt.to(model.device), attention_mask=mask, logits_to_keep=kept)
    logits: Tensor = output.logits[:, -kept:]  # a trained prompt has logits of its own in front
    return logits
