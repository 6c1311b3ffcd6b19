"""Rows of new tokens that train beside an adapter, while those of the base stay frozen and cost no gradient.

Legend: b texts, t tokens, d size of an embedding, n new tokens, v tokens of the base.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from descant.core.errors import ConfigError
from descant.models.new_rows import MatrixName, token_matrices


def train_rows(model: Any, first: int) -> dict[MatrixName, torch.nn.Parameter]:
    """Make the rows from token ``first`` on parameters of their own, that train; those before them are frozen.

    ``model`` computes the same as before, which is tried; ConfigError where its embeddings do more than look up.
    """
    matrices = token_matrices(model)
    ids_bt = torch.arange(first - 1, first + 1, device=model.device)[None]
    with torch.no_grad():
        expected = model(input_ids=ids_bt, use_cache=False).logits
    rows = {name: torch.nn.Parameter(matrix.detach()[first:].clone()) for name, matrix in matrices.items()}
    kept = {
        name: torch.nn.Parameter(matrix.detach()[:first], requires_grad=False)
        for name, matrix in matrices.items()
    }
    model.set_input_embeddings(_Embedding(kept["input"], rows["input"]))
    head: MatrixName = "output" if "output" in rows else "input"
    bias = (kept["output_bias"], rows["output_bias"]) if "output_bias" in rows else (None, None)
    model.set_output_embeddings(_Head(kept[head], rows[head], *bias))
    with torch.no_grad():
        found = model(input_ids=ids_bt, use_cache=False).logits
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
        raise ConfigError(
            "E-TRN-ROWS",
            type(model).__name__,
            "its embeddings do more than look up rows, so new rows cannot train beside an adapter",
            "Nothing was started. Use method: {kind: full}.",
        )
    return rows


class _Embedding(torch.nn.Module):
    """A lookup in two matrices."""

    def __init__(self, weight: torch.nn.Parameter, rows: torch.nn.Parameter) -> None:
        super().__init__()
        self.weight, self.rows = weight, rows

    def forward(self, ids_bt: Tensor) -> Tensor:
        first = len(self.weight)
        kept_btd = embedding(ids_bt.clamp(max=first - 1), self.weight)
        new_btd = embedding((ids_bt - first).clamp(min=0), self.rows)
        return torch.where((ids_bt >= first)[..., None], new_btd, kept_btd)


class _Head(torch.nn.Module):
    """Logits from two matrices; the gradient of the frozen one, nine tenths of the work, is never made."""

    def __init__(
        self,
        weight: torch.nn.Parameter,
        rows: torch.nn.Parameter,
        bias: torch.nn.Parameter | None,
        new_bias: torch.nn.Parameter | None,
    ) -> None:
        super().__init__()
        self.weight, self.rows, self.bias, self.new_bias = weight, rows, bias, new_bias

    def forward(self, states_btd: Tensor) -> Tensor:
        kept_btv, new_btn = (
            linear(states_btd, self.weight, self.bias),
            linear(states_btd, self.rows, self.new_bias),
        )
        return torch.cat([kept_btv, new_btn], dim=-1)


def trained_rows(
    module: torch.nn.Module, rows: Mapping[MatrixName, torch.nn.Parameter], state: dict[str, Tensor]
) -> tuple[dict[MatrixName, Tensor], dict[str, Tensor]]:
    """The trained values of ``rows`` out of ``state``, and what is left of it."""
    wanted = {id(parameter): name for name, parameter in rows.items()}
    found: dict[MatrixName, Tensor] = {}
    rest = dict(state)
    for path, parameter in module.named_parameters():
        if id(parameter) in wanted:
            found[wanted[id(parameter)]] = rest.pop(path)
    return found, rest
