"""The ways to compute x (W + U M V^T)^T without building the update per forward pass, and which is the cheapest.

With a thin decomposition W = U S V^T:

    beside       W x + U M V^T x
    input_side   W (x + V S^-1 M V^T x)           since U = W V S^-1: the inputs' vectors suffice
    output_side  z + U M S^-1 U^T z, z = W x      since V^T = S^-1 U^T W: the outputs' vectors suffice
    composed     (W + U M V^T) x                  the sum is kept until M changes; M's gradient is read off the weight's
    factored     U (S + M) V^T x                  W is neither needed nor kept

All but the last equal the base bit for bit where M = 0. Legend: t tokens, o outputs, i inputs, r rank of the update,
k trained coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

ExactForm = Literal["beside", "input_side", "output_side", "composed"]
Multiply = Callable[[Tensor], Tensor]
"""h [t, r] -> h M^T [t, r]"""

MOST_CONDITION = {torch.float32: 1e3, torch.float64: 1e8}
"""How often the largest used singular value may hold the smallest one for the forms that divide by them."""


def costs(tokens: int, outputs: int, inputs: int, rank: int) -> dict[ExactForm, int]:
    """Multiply-adds of one forward and one backward pass by each exact form; those of M itself are left out."""
    weight = outputs * inputs
    return {
        "beside": 2 * tokens * (weight + rank * (outputs + inputs)),
        "input_side": 2 * tokens * (weight + 2 * rank * inputs),
        "output_side": 2 * tokens * (weight + 2 * rank * outputs),
        "composed": 3 * tokens * weight + 2 * rank * weight,
    }


def cheapest(
    tokens: int,
    outputs: int,
    inputs: int,
    rank: int,
    *,
    condition: float,
    dtype: torch.dtype,
    can_compose: bool,
) -> ExactForm:
    """The exact form with the lowest cost of those that are safe.

    The one-sided forms divide by singular values, so they need full precision and a well-conditioned weight. A composed
    weight is rounded to the weight's dtype, which in half precision swallows small updates; looking whether the
    coefficients have changed would break a compiled graph.
    """
    found = costs(tokens, outputs, inputs, rank)
    if dtype not in MOST_CONDITION:
        return "beside"
    if not can_compose:
        del found["composed"]
    if condition > MOST_CONDITION[dtype]:
        del found["input_side"], found["output_side"]
    return min(found, key=lambda form: found[form])


def beside(
    x_ti: Tensor, base: Callable[[Tensor], Tensor], u_or: Tensor, v_ir: Tensor, multiply: Multiply
) -> Tensor:
    """[t, o]"""
    return base(x_ti) + functional.linear(multiply(x_ti @ v_ir), u_or)


def input_side(
    x_ti: Tensor, base: Callable[[Tensor], Tensor], s_r: Tensor, v_ir: Tensor, multiply: Multiply
) -> Tensor:
    """[t, o]"""
    return base(x_ti + functional.linear(multiply(x_ti @ v_ir) / s_r, v_ir))


def output_side(
    x_ti: Tensor,
    base: Callable[[Tensor], Tensor],
    bias_o: Tensor | None,
    u_or: Tensor,
    s_r: Tensor,
    multiply: Multiply,
) -> Tensor:
    """[t, o]"""
    y_to = base(x_ti)
    z_to = y_to if bias_o is None else y_to - bias_o
    return y_to + functional.linear(multiply((z_to @ u_or) / s_r), u_or)


def factored(
    x_ti: Tensor, bias_o: Tensor | None, u_or: Tensor, v_ir: Tensor, multiply_whole: Multiply
) -> Tensor:
    """[t, o]; ``multiply_whole`` gives h (S + M)^T."""
    return functional.linear(multiply_whole(x_ti @ v_ir), u_or, bias_o)


def composed(
    x_ti: Tensor,
    weight_oi: Tensor,
    bias_o: Tensor | None,
    coefficients: list[Tensor],
    read_off: Callable[[Tensor], list[Tensor]],
) -> Tensor:
    """[t, o] = x W'^T, where W' was made of ``coefficients``.

    ``read_off`` turns the gradient of W' [o, i] into those of the coefficients. W' itself gets none.
    """
    return cast("Tensor", _Composed.apply(x_ti, weight_oi, bias_o, read_off, *coefficients))


class _Composed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ti: Tensor, weight_oi: Tensor, bias_o: Tensor | None, read_off: Any, *coefficients: Tensor
    ) -> Tensor:
        ctx.read_off = read_off
        ctx.has_bias = bias_o is not None
        ctx.save_for_backward(x_ti, weight_oi)
        return functional.linear(x_ti, weight_oi, bias_o)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_to,) = gradients
        x_ti, weight_oi = ctx.saved_tensors
        of_x = gradient_to @ weight_oi if ctx.needs_input_grad[0] else None
        of_bias = gradient_to.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        of_coefficients: list[Tensor | None] = [None] * len(ctx.needs_input_grad[4:])
        if any(ctx.needs_input_grad[4:]):
            of_coefficients = list(ctx.read_off(gradient_to.T @ x_ti))
        return of_x, None, of_bias, None, *of_coefficients
