"""Rows that know nothing of their token: what others are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from descant.core.seeds import seed_for
from descant.vocab.initialise.base import Initialiser, NewTokens

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Random(Initialiser):
    """Normal values around zero, as new embeddings of transformers are drawn."""

    kind: Literal["random"] = "random"
    """Random."""
    std: float = Field(0.02, gt=0)
    """Their standard deviation."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """Independent of the base."""
        import torch

        return self.std * torch.randn(len(new.ids), old_vd.shape[1], generator=_generator(seed, self.kind))


class Normal(Initialiser):
    """Normal values with the mean and standard deviation of each column of the base's matrix."""

    kind: Literal["normal"] = "normal"
    """Normal."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """Where the base's rows lie, but nowhere in particular."""
        import torch

        mean_d, std_d = old_vd.double().mean(0).float(), old_vd.double().std(0).float()
        return mean_d + std_d * torch.randn(len(new.ids), len(mean_d), generator=_generator(seed, self.kind))


class RandomRow(Initialiser):
    """Each a copy of one of the base's rows, drawn at random (arXiv:2406.14670, section 3.2)."""

    kind: Literal["random_row"] = "random_row"
    """Random row."""

    def rows(self, old_vd: Tensor, new: NewTokens, *, seed: int) -> Tensor:
        """A row that is some token's."""
        import torch

        drawn = torch.randint(len(old_vd), (len(new.ids),), generator=_generator(seed, self.kind))
        return old_vd[drawn]


def _generator(seed: int, kind: str) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed_for(seed, "new rows", kind))
