"""One adapted weight: its singular vectors, the coefficients of each adapter, and the forward pass.

Legend: t tokens, o outputs, i inputs, r rank, k trained coefficients.
"""

from __future__ import annotations

import functools
import logging
import math
import warnings
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn
from torch.nn import functional

from descant.adapters.patterns import positions
from descant.adapters.svft import forms
from descant.adapters.svft.config import SvftConfig
from descant.adapters.svft.products import Product, product_of
from descant.adapters.svft.sharding import gathered, is_sharded
from descant.adapters.svft.weight import DecomposedLinear
from descant.core.seeds import seed_for

log = logging.getLogger(__name__)


class SvftLinear(DecomposedLinear):
    """A linear layer with SVFT adapters."""

    adapter_layer_names = ("svft_coefficients", "svft_gate")
    other_param_names = ("svft_products", "svft_scale")

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: SvftConfig) -> None:
        super().__init__(base_layer, config)
        self.svft_coefficients = nn.ParameterDict()
        self.svft_gate = nn.ParameterDict()
        self.svft_products = nn.ModuleDict()
        self.svft_scale: dict[str, float] = {}
        self.merged_adapters: list[str] = []
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self._composed: tuple[list[str], list[Tensor], Tensor] | None = None
        self.update_layer(adapter_name, config)

    # --- adapters ---

    def update_layer(self, adapter_name: str, config: SvftConfig) -> None:
        """Add an adapter, or replace the one of that name."""
        rank = min(config.rank or len(self.basis.s_r), len(self.basis.s_r))
        found_2k = positions(
            config.pattern,
            self.basis.u_or[:, :rank],
            self.basis.v_ir[:, :rank],
            off_diagonals=config.off_diagonals,
            seed=seed_for(config.seed, "svft positions", self.weight_sha256),
            rectangular=config.rectangular,
        )
        device = self.basis.u_or.device
        self.svft_products[adapter_name] = product_of(rank, found_2k).to(device)
        self._composed = None
        start_k = torch.zeros(found_2k.shape[1])
        if config.start == "published":
            generator = torch.Generator().manual_seed(seed_for(config.seed, "svft start", self.weight_sha256))
            start_k.normal_(generator=generator).mul_(math.sqrt(2 / len(start_k)))
        self.svft_coefficients[adapter_name] = nn.Parameter(start_k.to(device))
        if config.gate:
            self.svft_gate[adapter_name] = nn.Parameter(torch.zeros(1, device=device))
        self.svft_scale[adapter_name] = 1.0
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def coefficients(self, adapter_name: str) -> Tensor:
        """float32 [k]: what multiplies the singular vectors, with the gate and the scale."""
        values_k = self.svft_coefficients[adapter_name]
        if adapter_name in self.svft_gate:
            values_k = values_k * torch.sigmoid(self.svft_gate[adapter_name])
        scale = self.svft_scale[adapter_name]
        return values_k if scale == 1 else values_k * scale

    def product(self, adapter_name: str) -> Product:
        """What multiplies by M."""
        return cast("Product", self.svft_products[adapter_name])

    def set_scale(self, adapter: str, scale: float) -> None:
        """Multiply an adapter's update by ``scale``, whatever it was multiplied by before."""
        if adapter in self.svft_scale:
            self.svft_scale[adapter] = scale

    def scale_layer(self, scale: float) -> None:
        """Multiply the updates of the active adapters by ``scale`` on top of what they have."""
        for name in self._present():
            self.svft_scale[name] *= scale

    def unscale_layer(self, scale: float | None = None) -> None:
        """Undo ``scale_layer(scale)``, or all of them."""
        for name in self._present():
            self.svft_scale[name] = 1.0 if scale is None else self.svft_scale[name] / scale

    def _present(self) -> list[str]:
        return [name for name in self.active_adapters if name in self.svft_coefficients]

    # --- the weight ---

    def set_base_weight(self, weight_data: Tensor) -> None:
        """Another weight; one that was dropped is there again."""
        super().set_base_weight(weight_data)
        self._composed = None

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """float32 U M V^T, shaped as the weight."""
        with torch.no_grad():
            product, coefficients_k = self.product(adapter_name), self.coefficients(adapter_name).float()
            u_or, v_ir = (side[:, : product.rank].float() for side in (self.basis.u_or, self.basis.v_ir))
            delta_oi = u_or @ product.multiply(v_ir, coefficients_k).T
            return delta_oi.T if self.is_transposed else delta_oi

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the updates of the active adapters to the weight; ``safe_merge`` refuses what is not finite.

        A quantised weight is rounded anew, which changes the outputs: a warning says so.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.svft_coefficients:
                if self.quantization_backend is not None:
                    warnings.warn(
                        f"Merging into {self.quantization_backend.backend_name} rounds the weight anew",
                        stacklevel=2,
                    )
                merged = self._shifted(self.get_delta_weight(name))
                if safe_merge and not torch.isfinite(merged).all():
                    raise ValueError(f"The adapter {name} has numbers that are not finite; it was not merged")
                self.set_base_weight(merged)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the merged updates off the weight again."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            if name in self.svft_coefficients:
                self.set_base_weight(self._shifted(-self.get_delta_weight(name)))
        if self.execution == "factored":
            self._drop_weight()

    # --- forward ---

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        """The output of the layer with its active adapters, or with that of ``adapter_names`` for each row of ``x``."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        rows = None if self.disable_adapters else adapter_names
        if rows is not None:
            self._check_rows(x, rows)
            names = sorted(set(rows) & set(self.svft_coefficients))
        else:
            names = [] if self.disable_adapters or self.merged else self._present()
        if not names and not self.is_dropped:
            return cast("Tensor", self.base_layer(x, *args, **kwargs))
        dtype, shape = x.dtype, x.shape[:-1]
        x_ti = self._cast_input_dtype(x, self.basis.u_or.dtype).reshape(-1, self.in_features)
        y_to = self._adapted(x_ti, names, rows)
        return y_to.view(*shape, self.out_features).to(dtype)

    def _check_rows(self, x: Tensor, rows: list[str]) -> None:
        if len(x) != len(rows):
            raise ValueError(
                "Length of `adapter_names` should be the same as the number of inputs, but got "
                f"{len(rows)} and {len(x)} respectively."
            )
        if self.merged:
            raise ValueError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
            )

    def _adapted(self, x_ti: Tensor, names: list[str], rows: list[str] | None) -> Tensor:
        basis = self.basis

        def multiply(h_tr: Tensor) -> Tensor:
            return self._multiplied(h_tr, names) if rows is None else self._multiplied_by_rows(h_tr, rows)

        if self.is_dropped:

            def multiply_whole(h_tr: Tensor) -> Tensor:
                return (
                    self._multiplied_whole(h_tr, names) if rows is None else h_tr * basis.s_r + multiply(h_tr)
                )

            return forms.factored(x_ti, self._bias(), basis.u_or, basis.v_ir, multiply_whole)
        rank = max(self.product(name).rank for name in names)
        u_or, s_r, v_ir = basis.u_or[:, :rank], basis.s_r[:rank], basis.v_ir[:, :rank]
        form = (
            self._form(x_ti, rank) if rows is None else "beside"
        )  # the others would be made anew for each adapter
        if form == "beside":
            return forms.beside(x_ti, self.base_layer, u_or, v_ir, multiply)
        if form == "input_side":
            return forms.input_side(x_ti, self.base_layer, s_r, v_ir, multiply)
        if form == "output_side":
            return forms.output_side(x_ti, self.base_layer, self._bias(), u_or, s_r, multiply)
        coefficients = [self.coefficients(name) for name in names]
        weight_oi = self._composed_weight(coefficients, names)
        return forms.composed(
            x_ti, weight_oi, self._bias(), coefficients, lambda g_oi: self._read_off(g_oi, names)
        )

    def _multiplied(self, h_tr: Tensor, names: list[str]) -> Tensor:
        """h M^T summed over adapters, whose ranks may differ."""
        total: Tensor | None = None
        for name in names:
            product = self.product(name)
            found = product(h_tr[:, : product.rank], self.coefficients(name))
            found = functional.pad(found, (0, h_tr.shape[1] - product.rank))
            total = found if total is None else total + found
        return torch.zeros_like(h_tr) if total is None else total

    def _multiplied_by_rows(self, h_tr: Tensor, rows: list[str]) -> Tensor:
        """h M^T with the adapter of each row of the batch; nothing where it has none here, as for ``__base__``."""
        h_btr = h_tr.view(len(rows), -1, h_tr.shape[1])
        found_btr = torch.zeros_like(h_btr)
        for name in set(rows) & set(self.svft_coefficients):
            chosen = [row for row, its in enumerate(rows) if its == name]
            part_btr = h_btr[chosen]
            found_btr[chosen] = self._multiplied(part_btr.flatten(0, 1), [name]).view_as(part_btr)
        return found_btr.view_as(h_tr)

    def _multiplied_whole(self, h_tr: Tensor, names: list[str]) -> Tensor:
        """h (S + M)^T, in one product where M has a diagonal to add S to.

        In half precision that sum would swallow small coefficients, so there the two are apart.
        """
        s_r = self.basis.s_r
        if len(names) == 1 and h_tr.dtype in (torch.float32, torch.float64):
            product, coefficients_k = self.product(names[0]), self.coefficients(names[0])
            if product.diagonal_r is not None and product.rank == len(s_r):
                return product(
                    h_tr, coefficients_k.index_add(0, product.diagonal_r, s_r.to(coefficients_k.dtype))
                )
        return h_tr * s_r + self._multiplied(h_tr, names)

    def _form(self, x_ti: Tensor, rank: int) -> forms.ExactForm:
        if self.quantization_backend is not None:
            return "beside"
        if self.form != "auto":
            return self.form
        form = forms.cheapest(
            len(x_ti),
            self.out_features,
            self.in_features,
            rank,
            condition=self.condition,
            dtype=x_ti.dtype,
            can_compose=self._can_compose(),
        )
        if not torch.compiler.is_compiling():
            _say_once(self.out_features, self.in_features, rank, form)
        return form

    def _can_compose(self) -> bool:
        """Whether the weight is at hand and whole: not sharded, not being compiled."""
        return not is_sharded(self.get_base_layer().weight) and not torch.compiler.is_compiling()

    def _composed_weight(self, coefficients: list[Tensor], names: list[str]) -> Tensor:
        """W + U M V^T in the dtype of W; made anew only when a coefficient has changed.

        Values are compared, since optimizers write past the version counter.
        """
        values = [values_k.detach() for values_k in coefficients]
        if self._composed is not None and self._composed[0] == names:
            _, before, weight_oi = self._composed
            if before[0].device == values[0].device and all(map(torch.equal, before, values)):
                return weight_oi
        with torch.no_grad(), gathered(cast("Tensor", self.get_base_layer().weight)):
            delta = sum((self.get_delta_weight(name) for name in names[1:]), self.get_delta_weight(names[0]))
            weight = self._shifted(delta)
            weight_oi = weight.T if self.is_transposed else weight
        self._composed = (list(names), [values_k.clone() for values_k in values], weight_oi)
        return weight_oi

    def _read_off(self, gradient_oi: Tensor, names: list[str]) -> list[Tensor]:
        """The gradients of the coefficients, given that of the composed weight."""
        projected_ir = gradient_oi.T @ self.basis.u_or
        found = []
        for name in names:
            product = self.product(name)
            gradient_k = product.outer(projected_ir[:, : product.rank], self.basis.v_ir[:, : product.rank])
            found.append(gradient_k.to(self.svft_coefficients[name].dtype))
        return found

    def extra_repr(self) -> str:
        """How the layer computes."""
        return f"{self.in_features} -> {self.out_features}, execution={self.execution}, form={self.form}"


@functools.cache
def _say_once(outputs: int, inputs: int, rank: int, form: str) -> None:
    log.info(
        "SVFT computes weights of %d x %d with %d singular vectors by the form %s",
        outputs,
        inputs,
        rank,
        form,
    )
