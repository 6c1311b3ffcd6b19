"""Changes that rotate or reflect each weight: W R with R orthogonal, the identity at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod, divides

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Oft(LinearMethod):
    """OFT: each block of a target's inputs is rotated by a trained orthogonal matrix (arXiv:2306.07280).

    Defaults: PEFT's (blocks of 32, Cayley's formula by 5 terms of Neumann's series).
    """

    kind: Literal["oft"] = "oft"
    """Which method this is."""
    quantised: ClassVar[bool] = True

    oft_block_size: int = Field(32, ge=2)
    """Inputs that are rotated together; divides the inputs of every target."""
    module_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of blocks left unrotated while training."""
    use_cayley_neumann: bool = True
    """Approximate Cayley's formula by a series: faster, orthogonal while rotations are small."""
    num_cayley_neumann_terms: int = Field(5, ge=2)
    """Terms of the series."""

    def config(self) -> PeftConfig:
        """``peft.OFTConfig``."""
        from peft import OFTConfig

        return OFTConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; blocks must fill the inputs (PEFT would choose another size)."""
        divides(self, "oft_block_size", self.oft_block_size, self.targets(model), outputs=False)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """inputs (b - 1) / 2 for each target, b the block size."""
        return sum(t.in_features * (self.oft_block_size - 1) // 2 for t in self.targets(model))


class Boft(LinearMethod):
    """BOFT: orthogonal blocks, as OFT, and a trained factor for each output (arXiv:2311.06243).

    Defaults: PEFT's (blocks of 4). PEFT computes more than one butterfly factor with a CUDA extension only,
    and one where it cannot be built: so one is all that is offered.
    """

    kind: Literal["boft"] = "boft"
    """Which method this is."""
    quantised: ClassVar[bool] = True

    boft_block_size: int = Field(4, ge=2)
    """Inputs that are rotated together; divides the inputs of every target."""
    boft_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of blocks left unrotated while training."""

    def config(self) -> PeftConfig:
        """``peft.BOFTConfig``."""
        from peft import BOFTConfig

        return BOFTConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """As all; blocks must fill the inputs."""
        divides(self, "boft_block_size", self.boft_block_size, self.targets(model), outputs=False)

    def num_parameters(self, model: PreTrainedModel) -> int:
        """inputs b + outputs for each target, b the block size."""
        return sum(t.in_features * self.boft_block_size + t.out_features for t in self.targets(model))


class Hra(LinearMethod):
    """HRA: each weight is multiplied by r trained Householder reflections (arXiv:2405.17484).

    Defaults: PEFT's (8 reflections). They start in equal pairs, which cancel: r is even.
    """

    kind: Literal["hra"] = "hra"
    """Which method this is."""

    r: int = Field(8, ge=2, multiple_of=2)
    """Number of reflections."""
    apply_GS: bool = False
    """Make them orthogonal to each other (Gram-Schmidt)."""

    def config(self) -> PeftConfig:
        """``peft.HRAConfig``."""
        from peft import HRAConfig

        return HRAConfig(**self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """r inputs for each target."""
        return sum(self.r * t.in_features for t in self.targets(model))
