"""Texts as tokens: truncated, with the span that is pooled, and padded in batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from descant.data.prompts import PromptedText
from descant.models.encoder import Pooling

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One text's token ids, special ones included; those from ``first`` up to ``last`` are the target's."""

    ids: list[int]
    first: int
    last: int
    is_cut: bool = False
    """Whether the text had more tokens than were allowed."""


def token_rows(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[PromptedText], *, max_tokens: int, pooling: Pooling
) -> list[TokenRow]:
    """Tokenise all texts in one call, cutting each to ``max_tokens`` on the right.

    The target is every token that reaches past the text's ``start``; where that is 0, it is the whole row.
    With ``eos`` pooling each row ends in the end-of-text token, which is never cut and counts within
    ``max_tokens``.
    """
    if not texts:
        return []
    eos = tokenizer.eos_token_id if pooling == "eos" else None
    full = max_tokens - (eos is not None)
    needs_offsets = any(text.start for text in texts)
    encoded: Any = tokenizer(
        [text.text for text in texts],
        truncation=True,
        max_length=full,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=needs_offsets,
        verbose=False,
    )
    spans = encoded["offset_mapping"] if needs_offsets else [()] * len(texts)
    return [
        _row(_ended(ids, eos), text.start, found, len(ids) == full and bool(encoding.overflowing))
        for ids, text, found, encoding in zip(
            encoded["input_ids"], texts, spans, encoded.encodings, strict=True
        )
    ]


def _ended(ids: list[int], eos: int | None) -> list[int]:
    return ids if eos is None or ids[-1:] == [eos] else [*ids, eos]


def _row(ids: list[int], start: int, spans: Sequence[tuple[int, int]], is_cut: bool) -> TokenRow:
    if start == 0:
        return TokenRow(ids, 0, len(ids), is_cut)
    inside = [i for i, (_, end) in enumerate(spans) if end > start]
    first, last = (inside[0], inside[-1] + 1) if inside else (0, 0)
    return TokenRow(ids, first, last, is_cut)


def padded(rows: Sequence[TokenRow], *, pad_id: int) -> "dict[str, Tensor]":
    """A batch, padded right: ``input_ids`` int64, ``attention_mask`` and ``pool_mask`` bool, all [n, t]."""
    import torch

    lengths_n = np.array([len(row.ids) for row in rows])
    positions_t = np.arange(lengths_n.max(initial=0))
    ids_nt = np.full((len(rows), len(positions_t)), pad_id, dtype=np.int64)
    attention_nt = positions_t < lengths_n[:, None]
    ids_nt[attention_nt] = np.concatenate([row.ids for row in rows])
    firsts_n1 = np.array([[row.first] for row in rows])
    lasts_n1 = np.array([[row.last] for row in rows])
    pool_nt = (positions_t >= firsts_n1) & (positions_t < lasts_n1)
    arrays = {"input_ids": ids_nt, "attention_mask": attention_nt, "pool_mask": pool_nt}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def batches(rows: Sequence[TokenRow], *, tokens_per_batch: int) -> Iterator[np.ndarray]:
    """Row numbers, longest rows first, in batches of at most ``tokens_per_batch`` tokens padding included.

    A single row longer than that makes a batch of its own.
    """
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        longest = max(1, int(lengths[order[begin]]))
        end = begin + max(1, tokens_per_batch // longest)
        yield order[begin:end]
        begin = end
