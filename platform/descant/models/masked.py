"""A masked language model, as settings, and as the plain encoder that training it leaves behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from descant.artifacts.models import AnyModel
from descant.core.spec import Spec
from descant.models.encoder import Precision
from descant.models.folders import load_whole, whole_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Masking(Spec):
    """What of a text an encoder fills in."""

    max_tokens: int = Field(256, ge=8)
    """Longest window of a text, in tokens with those that begin and end it; longer texts are several windows."""
    mask_share: float = Field(0.15, gt=0, lt=1)
    """Share of its tokens that are predicted (arXiv:1810.04805: 0.15; arXiv:2202.08005 finds 0.4 better)."""


class MaskedSpec(Spec):
    """An encoder that is trained to fill in masked tokens."""

    model: AnyModel
    """The base model."""
    masking: Masking = Masking()
    """What it fills in."""
    precision: Precision = "fp32"
    """Number format of weights and activations."""


def write_encoder(model: Any, tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write the encoder without a head, as a folder that transformers loads."""
    encoder = model.base_model
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_trained_encoder(spec: MaskedSpec, weights: Path, folder: Path) -> None:
    """Write the encoder of ``spec`` with the weights, of all of the model, that lie in folder ``weights``."""
    from descant.models.load import load_masked_model

    model, tokenizer = load_masked_model(spec.model, seed=0, precision=spec.precision)
    load_whole(model, whole_state(weights))
    write_encoder(model, tokenizer, folder)
