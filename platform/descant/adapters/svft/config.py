"""The settings of an SVFT adapter, as PEFT keeps them in ``adapter_config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from peft.config import PeftConfig
from peft.utils import PeftType

from descant.adapters.patterns import Pattern, Rectangular

Execution = Literal["exact", "factored"]
Form = Literal["auto", "beside", "input_side", "output_side", "composed"]
Start = Literal["zero", "published"]


@dataclass
class SvftConfig(PeftConfig):
    """Train a sparse M between the singular vectors of each target's weight: W + U M V^T (arXiv:2405.19597)."""

    pattern: Pattern = field(default="plain", metadata={"help": "Which coefficients of M train."})
    off_diagonals: int = field(
        default=0,
        metadata={
            "help": "Diagonals on each side of the main one; sets how many coefficients train but for plain."
        },
    )
    trainable: str | int | None = field(
        default=None,
        metadata={
            "help": "A budget instead of off_diagonals: a share of the base's parameters ('0.1%') or a number of "
            "coefficients. The most off-diagonals within it are taken."
        },
    )
    rank: int | None = field(
        default=None,
        metadata={"help": "Singular vectors that the update may use, largest first; all by default."},
    )
    rectangular: Rectangular = field(
        default="refuse",
        metadata={"help": "What top_k does with a weight that is not square: refuse, or a band."},
    )
    seed: int = field(default=0, metadata={"help": "Draws the positions of random, and the published start."})
    start: Start = field(
        default="zero",
        metadata={
            "help": "zero starts at the base; published draws M with variance 2 / k, as the authors' code does."
        },
    )
    gate: bool = field(
        default=False,
        metadata={"help": "Train one more number g per weight and use sigmoid(g) M, as the authors' code."},
    )
    execution: Execution = field(
        default="exact",
        metadata={
            "help": "exact keeps W and equals the base bit for bit at M = 0; factored drops W and is faster."
        },
    )
    form: Form = field(
        default="auto",
        metadata={"help": "How exact computes; auto takes the cheapest for each weight and batch."},
    )
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names of the adapted layers, a regular expression, or 'all-linear'."}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names, or a regular expression, of layers that are left alone."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules that train whole and are saved with the adapter."}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "The numbers of the layers that are adapted; all by default."}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "The name of the list that layers_to_transform counts in."}
    )
    bias: Literal["none", "all", "svft_only"] = field(
        default="none", metadata={"help": "Which biases train: none, all, or those of the targets."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType["SVFT"]
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)  # type: ignore[assignment]
        for name, allowed in (
            ("pattern", ("plain", "banded", "random", "top_k")),
            ("rectangular", ("refuse", "banded")),
            ("start", ("zero", "published")),
            ("execution", ("exact", "factored")),
            ("form", ("auto", "beside", "input_side", "output_side", "composed")),
            ("bias", ("none", "all", "svft_only")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"SvftConfig.{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}"
                )
        if self.off_diagonals < 0 or (self.rank is not None and self.rank < 1):
            raise ValueError("SvftConfig.off_diagonals must be at least 0 and rank at least 1")
        if self.layers_pattern is not None and self.layers_to_transform is None:
            raise ValueError("SvftConfig.layers_pattern needs layers_to_transform")
