"""That an adapter is applied to the weights and singular vectors it was trained with.

A file of coefficients says nothing by itself. Beside those of every weight go ``svft_sha256`` (uint8 [32], of the
weight) and ``svft_probes`` (float32 [p], a few numbers that move with any change of the update, see ``probes``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from descant.adapters.svft.layer import SvftLinear
from descant.core.errors import IntegrityError

SHA256, PROBES = "svft_sha256", "svft_probes"
MOST_ERROR = 3e-5
"""Root mean square error of the probes, relative to their own, up to which two updates count as equal. It is an
estimate from a few numbers of the relative error of the update, so it is held below the 1e-4 that is promised."""


def checks_of(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checks of all weights whose coefficients are in ``state``, under the names they are saved by."""
    found = {}
    for name, layer, probes in _probed(model, adapter_name, state):
        found[f"{name}.{SHA256}"] = torch.tensor(list(bytes.fromhex(layer.weight_sha256)), dtype=torch.uint8)
        found[f"{name}.{PROBES}"] = torch.tensor(probes)
    return found


def checked(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without its checks.

    Raises IntegrityError when a weight, or the update that the coefficients make, is another than they say.
    """
    for name, layer, probes in _probed(model, adapter_name, state):
        if f"{name}.{SHA256}" in state:
            sha256 = bytes(state[f"{name}.{SHA256}"].tolist()).hex()
            _check(name.removeprefix("base_model.model."), layer, sha256, probes, state[f"{name}.{PROBES}"])
    return {key: tensor for key, tensor in state.items() if not key.endswith((SHA256, PROBES))}


def _check(where: str, layer: SvftLinear, sha256: str, probes: list[float], saved_p: Tensor) -> None:
    if layer.weight_sha256 != sha256:
        raise IntegrityError(
            "E-SVFT-WEIGHT",
            where,
            f"sha256 {layer.weight_sha256}, the adapter was trained on {sha256}",
            "Nothing was adapted. Load the base model, revision and precision that the adapter was trained on.",
        )
    error = relative_error(probes, saved_p.tolist())
    if not error <= MOST_ERROR:
        raise IntegrityError(
            "E-SVFT-BASIS",
            where,
            f"the update differs by {error:.1e} from the one that was saved, at most {MOST_ERROR:.0e} may: the "
            "weight's singular vectors came out differently "
            f"(probes {_short(probes)}, saved {_short(saved_p.tolist())})",
            "Nothing was adapted. Use the bases that the training used, or merge the adapter where it was trained.",
        )


def relative_error(found: list[float], expected: list[float]) -> float:
    """Root mean square of the difference over that of what was expected; 0 where both are zero."""
    a, b = torch.tensor(found, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64)
    if a.shape != b.shape:
        return float("inf")
    difference = float((a - b).norm())
    return difference / float(b.norm()) if difference else 0.0


def _probed(
    model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]
) -> Iterator[tuple[str, SvftLinear, list[float]]]:
    """Name, layer and probes of every weight whose coefficients are in ``state``."""
    for name, layer in model.named_modules():
        key = f"{name}.svft_coefficients.{adapter_name}"
        if isinstance(layer, SvftLinear) and key in state:
            values_k = state[key].detach().to(layer.basis.u_or.device, torch.float32)
            gate = state.get(f"{name}.svft_gate.{adapter_name}")
            if gate is not None:
                values_k = values_k * torch.sigmoid(gate.detach().to(values_k))
            yield name, layer, layer.probes.of_update(layer.product(adapter_name), values_k)


def _short(probes: list[float]) -> str:
    return ", ".join(f"{p:.4g}" for p in probes[:2])
