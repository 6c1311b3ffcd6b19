"""What a classifier is, as settings: a model, how its states become one vector, and its rows."""

from typing import Self

from pydantic import Field, model_validator

from descant.artifacts.models import AnyModel
from descant.core.spec import Spec
from descant.models.encoder import Attention, Pooling, Precision
from descant.models.images import ImageInput


class ClassifierSpec(Spec):
    """Everything that decides the logits of a row, but for the trained weights."""

    model: AnyModel
    """The base model."""
    pooling: Pooling
    """The state that the head reads: of the first token, the mean, of the last, or of an appended end-of-text."""
    attention: Attention = "native"
    """Which tokens a token sees: as the checkpoint has it, all, or only earlier ones."""
    max_tokens: int = Field(128, ge=4)
    """Longest row in tokens, both texts of a pair together; the rest is cut, the longer text first."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled state that training drops in front of the head."""
    precision: Precision = "fp32"
    """Number format of the backbone; pooled states, head and logits are float32 in either."""
    image: ImageInput | None = None
    """How images become pixels; left out where the rows are texts."""

    @model_validator(mode="after")
    def _images_have_no_tokens(self) -> Self:
        if self.image is not None and (self.pooling not in ("cls", "mean") or self.attention != "native"):
            raise ValueError("for images, pooling is cls or mean and attention native")
        return self
