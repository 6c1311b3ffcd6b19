"""About how many numbers a transformer keeps while it runs, from its sizes alone.

Counted tensor by tensor as in Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1), for what runs here: no dropout
in the base, and fused attention, which keeps no scores of token pairs. Their 34 bytes a token and hidden unit of a
layer then become 16 numbers: 6 of the hidden size, keys and values, and 2 of the inner size, which is four times as
large. A gated feed-forward part keeps 4 of its inner size, and two RMSNorms keep 2 more of the hidden size. Peaks of
small models in float32 are within a third of it.

Legend: h hidden size, f inner size, a tokens' keys and values together, t tokens, v vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Rows = tuple[int, int]
"""Rows that are read at once, and the tokens of each."""


@dataclass(frozen=True)
class LayerSizes:
    """The sizes of a transformer that decide how much it keeps."""

    layers: int
    hidden: int
    inner: int
    key_value: int
    """Width of the keys and of the values together."""
    is_gated: bool
    """Whether its feed-forward part multiplies two branches, and its norms are RMSNorm, as in Llama."""
    vocabulary: int
    """Logits of each token; 0 without a head for tokens."""
    tokens: int | None
    """Patches of an image; None for text."""

    def trained(self, rows: Rows, *, sees_padding: bool, checkpointing: bool) -> int:
        """Numbers kept for the backward pass.

        ``sees_padding``: every token attends to all others, with a mask that each layer keeps a copy of.
        ``checkpointing`` keeps the input of each layer and one layer's numbers at a time.
        """
        number, tokens = self._read(rows)
        feed_forward = self.inner * (4 if self.is_gated else 2)
        layer = self.hidden * (8 if self.is_gated else 6) + self.key_value + feed_forward
        layer += tokens if sees_padding else 0
        kept = layer + self.layers * self.hidden if checkpointing else self.layers * layer
        return number * tokens * (kept + 3 * self.hidden)

    def read(self, rows: Rows) -> int:
        """Numbers held at once without a backward pass: those of one layer."""
        number, tokens = self._read(rows)
        return number * tokens * (4 * self.hidden + self.key_value + self.inner * (3 if self.is_gated else 2))

    def logits(self, rows: Rows) -> int:
        """Logits of all tokens."""
        number, tokens = self._read(rows)
        return number * tokens * self.vocabulary

    def _read(self, rows: Rows) -> Rows:
        return rows[0], self.tokens or rows[1]


def layer_sizes(skeleton: PreTrainedModel) -> LayerSizes | None:
    """Those of a model; None where its configuration does not name them as most do."""
    config = skeleton.config
    try:
        hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
        layers = int(config.num_hidden_layers)
    except (AttributeError, TypeError):
        return None
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    keys = int(getattr(config, "num_key_value_heads", None) or heads)
    head = skeleton.get_output_embeddings()
    patch = getattr(config, "patch_size", None)
    return LayerSizes(
        layers=layers,
        hidden=hidden,
        inner=int(getattr(config, "intermediate_size", None) or 4 * hidden),
        key_value=2 * keys * width,
        is_gated=any("gate" in name for name, _ in skeleton.named_modules()),
        vocabulary=0 if head is None else int(config.vocab_size),
        tokens=None if patch is None else (int(config.image_size) // int(patch)) ** 2 + 1,
    )
