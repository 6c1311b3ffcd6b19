"""The contract of an embedding initialiser: first values for the rows of new tokens.

Legend: n new tokens, v rows of the base's matrix, d size of an embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from descant.core.errors import NumericsError
from descant.core.spec import Spec
from descant.vocab.words import Family, description, family_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class NewTokens:
    """What is known of the tokens that need a row."""

    pieces: tuple[str, ...]
    """As the extended vocabulary writes them, in the order of their ids."""
    ids: tuple[int, ...]
    """Their ids in the extended tokenizer."""
    parts: tuple[tuple[int, ...], ...]
    """The base's tokens of what each stands for; at least one."""
    frequencies: Mapping[int, float]
    """Share of each base token in texts of the language, under the base's tokenizer."""
    texts: Sequence[Sequence[int]] = ()
    """Texts of the language in the ids of the extended tokenizer."""


class Initialiser(Spec, ABC):
    """How new rows are filled. Subclasses add ``kind`` and their settings."""

    @abstractmethod
    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """float32 [n, d]: a row for each new token, from the base's rows (float32)."""

    def fill(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """The matrix with rows for all ids, in the dtype of ``old_vd``; its own rows are kept bit for bit.

        Rows between the base's last and the first new id, which no token has, are zero. Raises NumericsError for a
        row that is not finite.
        """
        size = max(max(new.ids) + 1, len(old_vd))
        filled = old_vd.new_zeros(size, old_vd.shape[1])
        filled[: len(old_vd)] = old_vd
        rows_nd = self.rows(old_vd.float(), new, seed=seed)
        bad = (~rows_nd.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            raise NumericsError(
                "E-VOC-FINITE",
                f"initialiser {type(self).__name__.lower()}",
                f"{len(bad)} of {len(new.ids)} new rows are not finite, first of {new.pieces[bad[0]]!r}",
                "Nothing was written. This is a bug of the initialiser.",
            )
        filled[list(new.ids)] = rows_nd.to(old_vd.dtype)
        return filled


def new_tokens(
    base: PreTrainedTokenizerFast,
    extended: PreTrainedTokenizerFast,
    *,
    frequencies: Mapping[int, float] | None = None,
    texts: Sequence[Sequence[int]] = (),
) -> NewTokens:
    """The tokens of ``extended`` that ``base`` lacks, each with the base's tokens of what it stands for.

    A piece is cut by the base's model alone, as it stands in a word: neither written in the byte alphabet a second
    time nor with a space in front that it does not have, two errors of arXiv:2406.14670's code.
    """
    old = base.get_vocab()
    found = sorted((number, piece) for piece, number in extended.get_vocab().items() if piece not in old)
    described = description(base)
    family = family_of(described)
    added = {token["content"] for token in description(extended)["added_tokens"]}
    parts = tuple(_parts(base, piece, family, is_added=piece in added) for _, piece in found)
    return NewTokens(
        tuple(piece for _, piece in found),
        tuple(number for number, _ in found),
        parts,
        frequencies or {},
        texts,
    )


def _parts(base: PreTrainedTokenizerFast, piece: str, family: Family, *, is_added: bool) -> tuple[int, ...]:
    backend = base.backend_tokenizer
    if is_added:  # written as text, not as a piece
        ids = backend.encode(piece, add_special_tokens=False).ids
    elif family == "wordpiece" and piece.startswith("##"):
        ids = _inner_pieces(base.get_vocab(), piece[2:])
    else:
        ids = [token.id for token in backend.model.tokenize(piece)]
    if not ids and base.unk_token_id is not None:
        ids = [base.unk_token_id]
    if not ids:
        raise ValueError(f"the base has no token for any part of {piece!r}")
    return tuple(ids)


def _inner_pieces(vocabulary: Mapping[str, int], text: str) -> list[int]:
    """WordPiece of the inside of a word: the longest piece first; nothing where a letter has none."""
    ids = []
    while text:
        length = next((n for n in range(len(text), 0, -1) if f"##{text[:n]}" in vocabulary), 0)
        if not length:
            return []
        ids.append(vocabulary[f"##{text[:length]}"])
        text = text[length:]
    return ids


def weighted_rows(
    old_vd: Tensor, parts: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> Tensor:
    """float32 [n, d]: the mean of each token's parts under its weights, which need not sum to 1."""
    import torch

    owners = torch.tensor([n for n, row in enumerate(parts) for _ in row])
    flat = torch.tensor([one for row in parts for one in row])
    weight = torch.tensor([one for row in weights for one in row], dtype=torch.float64)
    total = torch.zeros(len(parts), dtype=torch.float64).index_add(0, owners, weight)
    sums = torch.zeros(len(parts), old_vd.shape[1], dtype=torch.float64)
    sums.index_add_(0, owners, old_vd[flat].double() * weight[:, None])
    return (sums / total[:, None]).float()
