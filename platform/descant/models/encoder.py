"""What an encoder is, as settings: a model, how its states become one vector, and its prompts."""

from typing import Literal, Self

from pydantic import Field, model_validator

from descant.artifacts.models import AnyModel
from descant.core.spec import Spec
from descant.data.prompts import Prompt

Pooling = Literal["cls", "mean", "last_token", "eos"]
Attention = Literal["native", "bidirectional", "causal"]
Precision = Literal["fp32", "bf16"]


class EncoderSpec(Spec):
    """Everything that decides the vector of a text. Vectors are float32 of unit length."""

    model: AnyModel
    """The base model."""
    pooling: Pooling
    """The token state taken: the first, the mean over the target, the last, or an appended end-of-text."""
    attention: Attention = "native"
    """Which tokens a token sees: as the checkpoint has it, all (as LLM2Vec does), or only earlier ones."""
    prompt: Prompt = Prompt()
    """How queries and passages are written."""
    max_query_tokens: int = Field(512, ge=8)
    """Longest query prompt with its examples, in tokens; examples are dropped whole to fit."""
    max_passage_tokens: int = Field(256, ge=8)
    """Longest passage in tokens; the rest is cut."""
    precision: Precision = "fp32"
    """Number format of weights and activations; pooling and vectors are float32 in either."""

    def instructed(self, instruction: str | None) -> Self:
        """The same encoder with another instruction in its prompt; itself where none is given."""
        if instruction is None:
            return self
        prompt = Prompt.model_validate({**self.prompt.model_dump(), "instruction": instruction})
        return self.model_copy(update={"prompt": prompt})

    @model_validator(mode="after")
    def _cls_sees_the_text(self) -> Self:
        if self.pooling == "cls" and self.attention == "causal":
            raise ValueError("under causal attention the first token sees no other: choose last_token or eos")
        return self
