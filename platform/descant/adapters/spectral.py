"""SVFT and SVF: coefficients between the singular vectors of each weight, W + U M V^T with a sparse M."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from descant.adapters.library import LinearMethod
from descant.adapters.patterns import Pattern, Rectangular, budget_of, num_positions, off_diagonals_within

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from descant.adapters.base import Batches


class Spectral(LinearMethod):
    """What SVFT and its variants share: which weights, how many singular vectors, how it is computed."""

    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")
    quantised: ClassVar[bool] = True

    rank: int | None = Field(None, ge=1)
    """Singular vectors the update may use, those of the largest values; all by default."""
    execution: Literal["exact", "factored"] = "exact"
    """``exact`` keeps W and starts at the base bit for bit; ``factored`` drops W, is faster and starts 1e-5 off."""
    form: Literal["auto", "beside", "input_side", "output_side", "composed"] = "auto"
    """How ``exact`` computes; ``auto`` takes the cheapest for each weight and batch."""

    def config(self) -> Any:
        """``descant.adapters.svft.SvftConfig``."""
        from descant.adapters.svft import SvftConfig

        return SvftConfig(**self.arguments())

    def wrap(self, model: PreTrainedModel, batches: Batches | None) -> torch.nn.Module:
        """``model`` inside a ``PeftModel``; the seed draws the positions of random patterns."""
        import torch
        from peft import get_peft_model

        config = self.config()
        config.seed = torch.initial_seed()
        return get_peft_model(model, config, autocast_adapter_dtype=False)

    def ranks(self, model: PreTrainedModel) -> list[int]:
        """Singular vectors of each target that may be used."""
        full = [min(t.in_features, t.out_features) for t in self.targets(model)]
        return [min(self.rank or rank, rank) for rank in full]


class Svft(Spectral):
    """SVFT: the positions of M follow a pattern, all zero at the start (arXiv:2405.19597).

    Defaults: the plain diagonal, the paper's smallest variant; 8 to 16 off-diagonals of the others learn more there.
    """

    kind: Literal["svft"] = "svft"
    """Which method this is."""
    pattern: Pattern = "plain"
    """Which coefficients of M train: the diagonal, a band, random ones, or those of the most similar vectors."""
    off_diagonals: int = Field(0, ge=0)
    """Diagonals on each side of the main one; sets how many coefficients train for every pattern but plain."""
    trainable: str | int | None = None
    """A budget instead of ``off_diagonals``: a share of the base's parameters (``0.1%``), or a number of them."""
    rectangular: Rectangular = "refuse"
    """What ``top_k`` does with weights that are not square, where it is not defined: refuse, or train a band."""

    def num_parameters(self, model: PreTrainedModel) -> int:
        """n (2d + 1) - d (d + 1) for each target of n singular vectors and d off-diagonals."""
        ranks, d = self.ranks(model), self.off_diagonals
        if self.trainable is not None:
            total = sum(p.numel() for p in model.parameters())
            d = off_diagonals_within(budget_of(self.trainable, total), self.pattern, ranks)
        return sum(num_positions(self.pattern, rank, d) for rank in ranks)

    @model_validator(mode="after")
    def _one_way_to_say_how_many(self) -> Self:
        if self.pattern == "plain" and (self.off_diagonals or self.trainable is not None):
            raise ValueError("pattern plain trains the diagonal only: leave off_diagonals and trainable out")
        if self.off_diagonals and self.trainable is not None:
            raise ValueError(
                "off_diagonals and trainable both say how many coefficients train: leave one out"
            )
        if self.trainable is not None:
            budget_of(self.trainable, 0)
        return self


class Svf(Spectral):
    """SVF: the singular values alone train, which is SVFT's plain pattern (arXiv:2206.06122)."""

    kind: Literal["svf"] = "svf"
    """Which method this is."""

    def num_parameters(self, model: PreTrainedModel) -> int:
        """n for each target of n singular vectors."""
        return sum(self.ranks(model))


class SvftPublished(Spectral):
    """SVFT, published code: a random start and a trained gate, sigmoid(g) M with g = 0 at first (arXiv:2405.19597).

    The paper has neither; this is for reproducing what the authors' code gives.
    """

    starts_at_base: ClassVar[bool] = False

    kind: Literal["svft_published"] = "svft_published"
    """Which method this is."""
    pattern: Literal["plain", "banded", "random"] = "plain"
    """Which coefficients of M train."""
    off_diagonals: int = Field(0, ge=0)
    """Diagonals on each side of the main one."""

    def arguments(self) -> dict[str, Any]:
        """The settings, and the two that make it the published one."""
        return {**super().arguments(), "gate": True, "start": "published"}

    def num_parameters(self, model: PreTrainedModel) -> int:
        """SVFT's count, and one gate for each target."""
        return sum(num_positions(self.pattern, rank, self.off_diagonals) + 1 for rank in self.ranks(model))
