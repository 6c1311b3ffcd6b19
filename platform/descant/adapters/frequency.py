"""Changes that are trained in another basis: a few coefficients of a transform, zero elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import LinearMethod

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Coefficients(LinearMethod):
    """What the methods share that train coefficients at random places."""

    layers: ClassVar[tuple[str, ...]] = ("Linear", "Conv1D")

    n_frequency: int = Field(ge=1)
    """Trained coefficients of each target."""
    random_loc_seed: int = Field(777, ge=0)
    """Seed of their places, whatever the seed of the run."""

    def check(self, model: PreTrainedModel) -> None:
        """As all; no target may have fewer entries than coefficients."""
        for t in self.targets(model):
            if self.n_frequency > t.in_features * t.out_features:
                raise self.refusal(
                    f"n_frequency = {self.n_frequency} exceeds the entries of {t.name} "
                    f"[{t.out_features}, {t.in_features}]",
                    f"Use at most {t.in_features * t.out_features}, or use lora.",
                )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """n_frequency for each target."""
        return self.n_frequency * len(self.targets(model))


class FourierFt(Coefficients):
    """FourierFT: the change is the inverse Fourier transform of a few trained coefficients (arXiv:2405.03003).

    Defaults: PEFT's (1000 coefficients, scale 150), which it gives for GLUE; 300 for instruction tuning.
    """

    kind: Literal["fourierft"] = "fourierft"
    """Which method this is."""
    starts_at_base: ClassVar[bool] = False

    n_frequency: int = Field(1000, ge=1)
    """Trained coefficients of each target, normal at the start."""
    scaling: float = Field(150.0, gt=0)
    """Factor of the change."""

    def config(self) -> PeftConfig:
        """``peft.FourierFTConfig``."""
        from peft import FourierFTConfig

        return FourierFTConfig(**self.arguments())


class WaveFt(Coefficients):
    """WaveFT: the change is the inverse wavelet transform of a few trained coefficients (arXiv:2505.12532).

    Defaults: PEFT's (2592 coefficients, scale 25, Haar's wavelet), the paper's for images.
    """

    kind: Literal["waveft"] = "waveft"
    """Which method this is."""

    n_frequency: int = Field(2592, ge=1)
    """Trained coefficients of each target, zero at the start."""
    scaling: float = Field(25.0, gt=0)
    """Factor of the change."""
    wavelet_family: Literal["db1", "db2", "sym2", "coif1"] = "db1"
    """The wavelet; ``db1`` is Haar's."""

    def config(self) -> PeftConfig:
        """``peft.WaveFTConfig``."""
        from peft import WaveFTConfig

        return WaveFTConfig(**self.arguments())
