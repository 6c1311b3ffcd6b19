"""Adaptation methods: the table of them."""

from typing import Annotated

from pydantic import Field

from descant.adapters.adaptive_rank import AdaLora
from descant.adapters.base import Method
from descant.adapters.frequency import FourierFt, WaveFt
from descant.adapters.full import Full
from descant.adapters.low_rank import Dora, Lora, Rslora
from descant.adapters.low_rank_start import Corda, Eva, Olora, Pissa
from descant.adapters.orthogonal import Boft, Hra, Oft
from descant.adapters.prompts import PrefixTuning, PromptTuning, PTuning
from descant.adapters.scaling import Ia3, LnTuning
from descant.adapters.shared_basis import RandLora, VbLora, Vera
from descant.adapters.spectral import Spectral, Svf, Svft, SvftPublished
from descant.adapters.structured import C3a, Miss, Shira
from descant.adapters.tokens import TrainableTokens

METHODS = (
    *(Full, Lora, Rslora, Dora),
    *(Svft, Svf, SvftPublished),
    *(Pissa, Olora, Eva, Corda, AdaLora),
    *(Vera, RandLora, VbLora),
    *(Oft, Boft, Hra),
    *(FourierFt, WaveFt, C3a, Miss, Shira),
    *(Ia3, LnTuning, TrainableTokens),
    *(PromptTuning, PrefixTuning, PTuning),
)
AnyMethod = Annotated[
    Full
    | Lora
    | Rslora
    | Dora
    | Svft
    | Svf
    | SvftPublished
    | Pissa
    | Olora
    | Eva
    | Corda
    | AdaLora
    | Vera
    | RandLora
    | VbLora
    | Oft
    | Boft
    | Hra
    | FourierFt
    | WaveFt
    | C3a
    | Miss
    | Shira
    | Ia3
    | LnTuning
    | TrainableTokens
    | PromptTuning
    | PrefixTuning
    | PTuning,
    Field(discriminator="kind"),
]
"""Any method, told apart by ``kind``."""

__all__ = [
    "METHODS",
    "AdaLora",
    "AnyMethod",
    "Boft",
    "C3a",
    "Corda",
    "Dora",
    "Eva",
    "FourierFt",
    "Full",
    "Hra",
    "Ia3",
    "LnTuning",
    "Lora",
    "Method",
    "Miss",
    "Oft",
    "Olora",
    "PTuning",
    "Pissa",
    "PrefixTuning",
    "PromptTuning",
    "RandLora",
    "Rslora",
    "Shira",
    "Spectral",
    "Svf",
    "Svft",
    "SvftPublished",
    "TrainableTokens",
    "VbLora",
    "Vera",
    "WaveFt",
]
