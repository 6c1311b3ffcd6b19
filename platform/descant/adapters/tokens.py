"""Training chosen rows of the input embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from descant.adapters.library import PeftMethod

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel


class TrainableTokens(PeftMethod):
    """Trainable tokens: the input embeddings of chosen tokens train, all else is frozen.

    PEFT's own method, without a paper. The tokens have no default.
    """

    kind: Literal["trainable_tokens"] = "trainable_tokens"
    """Which method this is."""
    layers: ClassVar[tuple[str, ...]] = ("Embedding",)
    quantised: ClassVar[bool] = True

    token_indices: tuple[int, ...] = Field(min_length=1)
    """Rows of the embeddings that train."""

    def config(self) -> PeftConfig:
        """``peft.TrainableTokensConfig``."""
        from peft import TrainableTokensConfig

        return TrainableTokensConfig(**self.arguments())

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError for a token that the model has no embedding of, or that is named twice."""
        rows = _embeddings(model).num_embeddings
        wrong = sorted(
            {i for i in self.token_indices if not 0 <= i < rows or self.token_indices.count(i) > 1}
        )
        if wrong:
            raise self.refusal(
                f"token_indices holds {', '.join(map(str, wrong))} twice or outside the {rows} embeddings",
                "Name each token of the tokenizer once.",
            )

    def num_parameters(self, model: PreTrainedModel) -> int:
        """size of an embedding for each token."""
        return len(self.token_indices) * _embeddings(model).embedding_dim


def _embeddings(model: PreTrainedModel) -> torch.nn.Embedding:
    return cast("torch.nn.Embedding", model.get_input_embeddings())
