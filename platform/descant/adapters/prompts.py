"""Trained vectors in front of the text, which a frozen causal language model reads like tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from descant.adapters.library import PeftMethod

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Prompt(PeftMethod):
    """What the methods share that add virtual tokens."""

    layers: ClassVar[tuple[str, ...]] = ()
    mergeable: ClassVar[bool] = False
    quantised: ClassVar[bool] = True
    several_adapters: ClassVar[bool] = False
    starts_at_base: ClassVar[bool] = False
    zero_stages: ClassVar[tuple[int, ...]] = ()
    untrainable: ClassVar[str] = (
        "its virtual tokens are for a causal language model; an encoder's pooling would take them for text"
    )

    num_virtual_tokens: int = Field(20, ge=1)
    """Trained vectors in front of every text."""

    def check(self, model: PreTrainedModel) -> None:
        """Raise ConfigError where ``model`` is no causal language model."""
        if model.get_output_embeddings() is None or not model.can_generate():
            raise self.refusal(
                f"{type(model).__name__} is no causal language model; {self.untrainable}",
                "Use lora, or another method that adapts weights.",
            )


class PromptTuning(Prompt):
    """Prompt tuning: trained input embeddings in front of the text (arXiv:2104.08691).

    Defaults: 20 vectors, beyond which the paper gains little, and PEFT's random start.
    """

    kind: Literal["prompt_tuning"] = "prompt_tuning"
    """Which method this is."""

    def config(self) -> PeftConfig:
        """``peft.PromptTuningConfig``."""
        from peft import PromptTuningConfig

        return PromptTuningConfig(task_type="CAUSAL_LM", **self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """num_virtual_tokens hidden_size."""
        return self.num_virtual_tokens * model.config.hidden_size


class PrefixTuning(Prompt):
    """Prefix tuning: trained keys and values in front of the text, in every layer (arXiv:2101.00190).

    Defaults: 20 positions, without the paper's network that makes them while training (PEFT's default).
    """

    kind: Literal["prefix_tuning"] = "prefix_tuning"
    """Which method this is."""

    def config(self) -> PeftConfig:
        """``peft.PrefixTuningConfig``."""
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(task_type="CAUSAL_LM", **self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """2 num_virtual_tokens layers d, d the size of all key heads of a layer together."""
        config = model.config
        heads = config.num_attention_heads
        size = config.hidden_size // heads * (getattr(config, "num_key_value_heads", None) or heads)
        return 2 * self.num_virtual_tokens * config.num_hidden_layers * size


class PTuning(Prompt):
    """P-tuning: trained input embeddings in front of the text, made by a small network (arXiv:2103.10385).

    Defaults: 20 vectors and PEFT's network of three layers, of 128 units. What is saved are the vectors.
    """

    kind: Literal["p_tuning"] = "p_tuning"
    """Which method this is."""
    encoder_hidden_size: int = Field(128, ge=1)
    """Units of the network's inner layers."""

    def config(self) -> PeftConfig:
        """``peft.PromptEncoderConfig``."""
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(task_type="CAUSAL_LM", **self.arguments())

    def num_parameters(self, model: PreTrainedModel) -> int:
        """n h + (h e + e) + (e e + e) + (e h + h), n virtual tokens, h hidden_size, e encoder_hidden_size."""
        h, e = model.config.hidden_size, self.encoder_hidden_size
        return self.num_virtual_tokens * h + (h * e + e) + (e * e + e) + (e * h + h)
