"""What a transformer costs, from its shape: parameters, operations for a token, activations kept for it.

A product and a sum are two operations. For a matrix of n weights a token takes 2n forward, 2n for the gradient of its
input and 2n for the gradient of the weights: 6n in a full training (Kaplan et al., arXiv:2001.08361, section 2.1), 4n
where the weights are frozen, since an adapter behind them needs the second but not the third. Attention adds 4 t w for
each layer (w the width, t the tokens of the text), twice that backward, trained or not: it has no weights (Chowdhery
et al., arXiv:2204.02311, appendix B). Causal masks are not counted as a saving. Embedding tables are looked up: no
operations. Norms, biases, pooling and the adapter's own products are left out.

Activations are those a layer keeps for its backward pass when attention keeps no probabilities: for the layer of
Korthikanti et al., arXiv:2205.05198, section 4.1 that is the 34 bytes for a token and a unit of width less the 2 of
dropout's masks.
"""

from typing import Literal

from pydantic import Field

from descant.core.spec import Compute

Trained = Literal["nothing", "adapter", "all"]
"""What is trained: it decides which gradients are computed."""


class EncoderShape(Compute):
    """The matrices of a transformer; a ``config.json`` has every number."""

    layers: int = Field(ge=1)
    """Blocks."""
    width: int = Field(ge=1)
    """Hidden size; also that of the vectors it makes."""
    key_value_width: int = Field(ge=1)
    """Key heads times their size: the width, unless queries share key heads."""
    mlp_width: int = Field(ge=1)
    """Intermediate size."""
    mlp_matrices: Literal[2, 3]
    """3 where the MLP is gated (SwiGLU, GeGLU)."""
    embedding_rows: int = Field(ge=1)
    """Rows of all embedding tables: vocabulary, positions, types."""
    bytes_per_number: Literal[2, 4]
    """2 for bf16, 4 for fp32."""

    @property
    def matrix_parameters(self) -> int:
        """Weights that are multiplied with every token."""
        attention = 2 * self.width * (self.width + self.key_value_width)
        return self.layers * (attention + self.mlp_matrices * self.width * self.mlp_width)

    @property
    def parameters(self) -> int:
        """All weights but norms and biases."""
        return self.matrix_parameters + self.embedding_rows * self.width

    @property
    def vector_bytes(self) -> int:
        """Of one vector in the store and in an index, which are float32."""
        return 4 * self.width

    def operations(self, text_tokens: float, trained: Trained = "nothing", recompute: bool = False) -> float:
        """For one token of a text of ``text_tokens``; ``recompute`` runs the forward pass twice."""
        weights = 2.0 * self.matrix_parameters
        attention = 4.0 * text_tokens * self.width * self.layers
        forward = weights + attention
        if trained == "nothing":
            return forward
        backward = weights + 2 * attention + (weights if trained == "all" else 0)
        return forward + backward + (forward if recompute else 0)

    @property
    def layer_bytes(self) -> int:
        """Activations of one layer for one token."""
        mlp = 2 * self.mlp_width if self.mlp_matrices == 2 else 4 * self.mlp_width
        return (6 * self.width + 2 * self.key_value_width + mlp) * self.bytes_per_number

    def activation_bytes(self, recompute: bool) -> float:
        """Kept for one token until its backward pass; with ``recompute`` each layer's input and one whole layer."""
        if not recompute:
            return float(self.layers * self.layer_bytes)
        return float(self.layers * self.width * self.bytes_per_number + self.layer_bytes)
