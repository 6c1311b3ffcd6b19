"""One system's training step of a Llama-3-proportioned layer without its attention: seconds and peak memory.

Arguments: system, width d, tokens, device, dtype, folder of bases, ``seconds`` or ``peak``. Needs no Ray.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from descant.adapters.patterns import banded_positions
from descant.adapters.svft import SvftConfig
from descant.adapters.svft.basis import compute_basis, weight_digest
from descant.adapters.svft.source import bases_from, basis_of, write_basis

FEWEST_STEPS, LEAST_SECONDS = 3, 3.0
OFF_DIAGONALS = 8
SVFT: dict[str, dict[str, Any]] = {
    "SVFT plain, factored": {"pattern": "plain", "execution": "factored"},
    "SVFT banded, factored": {"pattern": "banded", "execution": "factored"},
    "SVFT random, factored": {"pattern": "random", "execution": "factored"},
    "SVFT plain, exact": {"pattern": "plain"},
    "SVFT banded, exact": {"pattern": "banded"},
    "SVFT banded, exact: beside": {"pattern": "banded", "form": "beside"},
    "SVFT banded, exact: composed": {"pattern": "banded", "form": "composed"},
}
LORA, FULL, PUBLISHED = "LoRA r=32", "full fine-tuning", "published algorithm, banded"
SYSTEMS = (LORA, FULL, PUBLISHED, *SVFT)


class Projections(nn.Module):
    """Query, key, value, output, gate, up and down."""

    def __init__(self, d: int) -> None:
        super().__init__()
        narrow, wide = d // 4, d * 7 // 2
        shapes = {
            "q": (d, d),
            "k": (d, narrow),
            "v": (d, narrow),
            "o": (d, d),
            "gate": (d, wide),
            "up": (d, wide),
        }
        for name, (inputs, outputs) in {**shapes, "down": (wide, d)}.items():
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))

    def linear(self) -> list[nn.Linear]:
        """The layers in their order."""
        return [module for module in self.children() if isinstance(module, nn.Linear)]


class Published(nn.Module):
    """The authors' way as papers describe it: (S + M) V^T, then U times it, a dense weight at every forward pass."""

    def __init__(self, weight_oi: Tensor) -> None:
        super().__init__()
        basis = basis_of(weight_oi, weight_digest(weight_oi))
        self.u_or = nn.Parameter(basis.u_or.to(weight_oi), requires_grad=False)
        self.v_ri = nn.Parameter(basis.v_ir.T.contiguous().to(weight_oi), requires_grad=False)
        rank = len(basis.s_r)
        self.where_2k = banded_positions(rank, OFF_DIAGONALS).to(weight_oi.device)
        self.s_r = basis.s_r.to(weight_oi)
        self.diagonal_2r = torch.arange(rank, device=weight_oi.device).expand(2, rank)
        self.m_k = nn.Parameter(
            torch.zeros(self.where_2k.shape[1], dtype=weight_oi.dtype, device=weight_oi.device)
        )

    def forward(self, x: Tensor) -> Tensor:
        rank = len(self.s_r)
        where, values = torch.cat([self.diagonal_2r, self.where_2k], 1), torch.cat([self.s_r, self.m_k])
        middle_rr = torch.sparse_coo_tensor(where, values, (rank, rank)).coalesce()
        scaled_ri = torch.sparse.mm(middle_rr, self.v_ri)
        return x @ (self.u_or @ scaled_ri).T


def build(system: str, base: Projections) -> list[nn.Module]:
    """The seven layers of a system; the base's own are gone where the system does not keep them."""
    if system == FULL:
        return list(base.linear())
    base.requires_grad_(False)
    names = [name for name, _ in base.named_children()]
    if system == PUBLISHED:
        layers: list[nn.Module] = []
        for name, layer in list(base.named_children()):
            assert isinstance(layer, nn.Linear)
            layers.append(Published(layer.weight.detach()))
            delattr(base, name)
        return layers
    config = (
        LoraConfig(r=32, lora_alpha=64, target_modules=names)
        if system == LORA
        else SvftConfig(target_modules=names, off_diagonals=OFF_DIAGONALS, **SVFT[system])
    )
    model: Any = get_peft_model(base, config, autocast_adapter_dtype=False)
    return list(model.get_base_model().children())


def step(layers: list[nn.Module], x_td: Tensor, gradient_td: Tensor) -> None:
    """Forward and backward with the layer's data flow; a sum stands in for attention, which no method changes."""
    query, key, value, output, gate, up, down = layers
    mixed_td = query(x_td) + (key(x_td) * value(x_td)).repeat(1, 4)
    between_td = x_td + output(mixed_td)
    y_td = between_td + down(functional.silu(gate(between_td)) * up(between_td))
    y_td.backward(gradient_td)
    for tensor in (x_td, *(p for layer in layers for p in layer.parameters())):
        tensor.grad = None


def on_cpu(run: Callable[[], None], num_steps: int) -> tuple[float, int]:
    """Seconds of the fastest run, and the most memory of the process while they ran, in bytes."""
    if num_steps > 1:
        run()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    times = timed(run, num_steps)
    return min(times), resident("VmHWM")


def resident(what: str) -> int:
    """Bytes of the process in memory: now (VmRSS) or at most (VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(what)) << 10


def on_gpu(run: Callable[[], None], num_steps: int) -> tuple[float, int]:
    """The same on a GPU, whose memory counts."""
    run()
    torch.cuda.reset_peak_memory_stats()

    def synchronised() -> None:
        run()
        torch.cuda.synchronize()

    return min(timed(synchronised, num_steps)), torch.cuda.max_memory_allocated()


def timed(run: Callable[[], None], num_steps: int) -> list[float]:
    times: list[float] = []
    while len(times) < num_steps or (num_steps > 1 and sum(times) < LEAST_SECONDS):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return times


def stored_bases(base: Projections, folder: Path) -> dict[str, Path]:
    """The bases of the projections, computed where they are not in ``folder`` yet."""
    files = {}
    for module in base.linear():
        weight = module.weight.detach()
        digest = weight_digest(weight)
        files[digest] = folder / f"{digest}.safetensors"
        if not files[digest].is_file():
            write_basis(compute_basis(weight), files[digest])
    return files


def main(system: str, d: str, tokens: str, device: str, dtype_name: str, folder: str, part: str) -> None:
    dtype = getattr(torch, dtype_name)
    torch.manual_seed(0)
    before = resident("VmRSS") if device == "cpu" else 0
    base = Projections(int(d)).to(device, dtype)
    with bases_from(stored_bases(base, Path(folder))):
        layers = build(system, base)
    x_td = torch.randn(int(tokens), int(d), device=device, dtype=dtype, requires_grad=True)
    gradient_td = torch.randn(int(tokens), int(d), device=device, dtype=dtype)
    del base
    measure, num_steps = on_gpu if device == "cuda" else on_cpu, FEWEST_STEPS if part == "seconds" else 1
    seconds, peak = measure(lambda: step(layers, x_td, gradient_td), num_steps)
    trained = sum(p.numel() for layer in layers for p in layer.parameters() if p.requires_grad)
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": peak - before, "trained": trained}))


if __name__ == "__main__":
    main(*sys.argv[1:])
