"""Which tokens a token attends to: declared in a model's configuration, set in its modules, and tried."""

from typing import TYPE_CHECKING, Any

from descant.core.errors import ConfigError
from descant.models.encoder import Attention

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_FLAGS: dict[Attention, dict[str, bool]] = {
    "native": {},
    "bidirectional": {"is_causal": False, "is_decoder": False},
    "causal": {"is_causal": True, "is_decoder": True},
}
"""The flags from which transformers builds its masks: decoders read the first, encoders the second."""


def declare_attention(config: "PreTrainedConfig", attention: Attention) -> None:
    """Set in ``config`` the flags that ``attention`` needs, before a model is made of it; without a cache of keys."""
    for flag, value in _FLAGS[attention].items():
        setattr(config, flag, value)
    config.use_cache = False


def set_attention(model: Any, attention: Attention) -> None:
    """Set what a finished model keeps in its modules, and try it; raises ConfigError where it does not attend so."""
    if attention == "native":
        return
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = attention == "causal"
    if looks_ahead(model) != {attention == "bidirectional"}:
        raise ConfigError(
            "E-MOD-ATTENTION",
            type(model).__name__,
            f"transformers offers no {attention} attention for this architecture",
            "Set attention: native, or choose another model.",
        )


def looks_ahead(model: Any) -> set[bool]:
    """Whether a later token changes an earlier one's state, without and with padding: asked by trying.

    The two differ where an architecture takes the flag for one of its ways to attend and not for the other.
    """
    import torch

    tokens = torch.tensor([[1, 2, 3, 0], [1, 2, 4, 0]], device=model.device)
    answers = set()
    for mask in (None, tokens.clamp(max=1)):
        with torch.inference_mode():
            states = model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
        answers.add(not torch.allclose(states[0, 0], states[1, 0], rtol=1e-5, atol=1e-6))
    return answers
