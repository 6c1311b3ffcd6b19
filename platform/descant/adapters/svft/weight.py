"""The weight under an adapter: decomposed once, then kept, dropped (``factored``) or left in its quantised form.

Legend: o outputs, i inputs, r rank.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from descant.adapters.svft.basis import Basis, weight_digest
from descant.adapters.svft.config import SvftConfig
from descant.adapters.svft.probes import Probes
from descant.adapters.svft.sharding import gathered, is_sharded
from descant.adapters.svft.source import basis_of
from descant.core.errors import ConfigError


class FrozenBasis(nn.Module):
    """The singular vectors of a weight, and its bias, in its dtype and on its device; never part of a state dict."""

    u_or: Tensor
    s_r: Tensor
    v_ir: Tensor
    bias_o: Tensor | None

    def __init__(self, basis: Basis, bias_o: Tensor | None, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        copied = None if bias_o is None else bias_o.detach().to(device, dtype, copy=True)
        self.register_buffer("bias_o", copied, persistent=False)
        for name in ("u_or", "s_r", "v_ir"):
            self.register_buffer(name, getattr(basis, name).to(device, dtype), persistent=False)


class DecomposedLinear(nn.Module, BaseTunerLayer):
    """A linear layer, a ``Conv1D`` (whose weight is transposed) or a quantised linear layer, and its singular vectors.

    Raises ConfigError where the weight cannot be read, or where what ``config`` asks for needs it whole and it is
    quantised.
    """

    def __init__(self, base_layer: nn.Module, config: SvftConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.quantization_backend = resolve_quantization_backend(base_layer)
        self.is_transposed = isinstance(base_layer, Conv1D)
        self.execution, self.form = config.execution, config.form
        self.is_dropped = False
        self._check_quantised()
        self._decompose()

    def _check_quantised(self) -> None:
        is_beside = self.execution == "exact" and self.form in ("auto", "beside")
        if self.quantization_backend is None or is_beside:
            return
        raise ConfigError(
            "E-SVFT-QUANTISED",
            f"SvftConfig(execution={self.execution!r}, form={self.form!r})",
            f"the base is quantised ({self.quantization_backend.backend_name}): without its own weight, or with one "
            "that the update is added to, the layer would no longer start at the base, and dividing by singular "
            "values multiplies the error of its rounding",
            "Nothing was adapted. Set execution: exact and form: auto or beside, or load the base unquantised.",
        )

    def _decompose(self) -> None:
        base = self.get_base_layer()
        if base.weight.is_meta:
            raise ConfigError(
                "E-SVFT-META",
                type(base).__name__,
                "its weight is on the meta device, and has no singular vectors",
                "Load the base model's weights first.",
            )
        bias_o = cast("Tensor | None", getattr(base, "bias", None))
        with gathered(cast("Tensor", base.weight), bias_o), torch.no_grad():
            weight = self.get_base_weight()
            weight_oi = weight.T if self.is_transposed else weight
            self.out_features, self.in_features = weight_oi.shape
            self.weight_sha256 = weight_digest(weight_oi)
            dtype = getattr(base, "compute_dtype", None) or weight.dtype
            basis = basis_of(weight_oi, self.weight_sha256)
            self.probes = Probes.of_basis(basis)
            self.basis = FrozenBasis(basis, bias_o, dtype, weight.device)
        s_r = self.basis.s_r
        self.condition = float(s_r[0]) / float(s_r[-1]) if float(s_r[-1]) > 0 else math.inf
        if self.execution == "factored":
            self._drop_weight()

    def get_base_weight(self) -> Tensor:
        """The weight, from its factors where it was dropped."""
        if self.is_dropped:
            basis = self.basis
            weight_oi = (basis.u_or.float() * basis.s_r.float()) @ basis.v_ir.float().T
            return (weight_oi.T if self.is_transposed else weight_oi).to(basis.u_or.dtype)
        if is_packed(self.get_base_layer()):
            raise ConfigError(
                "E-SVFT-PACKED",
                "bitsandbytes Linear4bit",
                "its first pass in evaluation mode packed the weight for this CPU, and it cannot be read any more",
                "Load the base model anew, and adapt, load or merge before a forward pass in evaluation mode.",
            )
        return super().get_base_weight()

    def restore_weight(self) -> None:
        """Put a dropped weight back, to the rounding of its factors."""
        if self.is_dropped:
            self.set_base_weight(self.get_base_weight())

    def set_base_weight(self, weight_data: Tensor) -> None:
        """Another weight; one that was dropped is there again."""
        super().set_base_weight(weight_data)
        self.is_dropped = False

    def _drop_weight(self) -> None:
        super().set_base_weight(self.basis.u_or.new_empty(0))
        self.is_dropped = True

    def _shifted(self, delta: Tensor) -> Tensor:
        """The weight with ``delta`` added, in its dtype."""
        weight = self.get_base_weight()
        return (weight.float() + delta).to(weight.dtype)

    def _bias(self) -> Tensor | None:
        """[o]; what it was at first where ZeRO-3 holds it in shards, which only the base layer's forward pass sees."""
        bias_o = cast("Tensor | None", getattr(self.get_base_layer(), "bias", None))
        if bias_o is None or not is_sharded(bias_o):
            return bias_o
        if bias_o.requires_grad:
            raise ConfigError(
                "E-SVFT-BIAS",
                f"SvftConfig(bias='svft_only', execution={self.execution!r}, form={self.form!r})",
                "biases train under ZeRO-3 only in a form that leaves them to the base layer",
                "Set form: beside, or another ZeRO stage.",
            )
        return self.basis.bias_o


def is_packed(base_layer: nn.Module) -> bool:
    """Whether bitsandbytes holds a 4-bit weight in the layout of a CPU's kernels, which its dequantisation misreads."""
    quant_state = getattr(base_layer.weight, "quant_state", None)
    return bool(getattr(quant_state, "packing_format_for_cpu", False))
