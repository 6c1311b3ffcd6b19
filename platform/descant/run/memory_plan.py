"""How much memory a process of each step needs, before anything is loaded: exact where shapes decide, else about.

Exact: weights, singular vectors, gradients and optimiser states. Parameters are counted on the architecture without
weights, those that train by the method's formula. A parameter that trains has a gradient in the precision of the
weights, two float32 moments of AdamW, and a float32 copy where DeepSpeed keeps one: in bf16, and from ZeRO 1 on.

ZeRO divides by the workers (arXiv:1910.02054, section 5): optimiser states from stage 1 on, gradients from 2 (in steps
of one micro-batch DeepSpeed does so from 1), weights from 3. DeepSpeed's own settings add a buffer for gradients, and
at stage 3 the weights that it keeps gathered at a time.

About: the states of the model (``models.state_sizes``). Left out: the libraries (half a gigabyte), rows of new tokens,
frozen random matrices (vera, randlora), and what compute_bases needs to decompose a weight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from descant.adapters import AnyMethod, Full, Spectral
from descant.core.spec import Compute
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.held import Held
from descant.stages.training.settings import TrainCompute

if TYPE_CHECKING:
    from rich.table import Table
    from transformers import PreTrainedModel

    from descant.artifacts.models import AnyModel
    from descant.models.skeleton import Head
    from descant.models.state_sizes import LayerSizes

FLOAT32, MOMENTS = 4, 8
"""Bytes of a float32, and of AdamW's two moments."""
BYTES = {"fp32": 4, "bf16": 2}
LOGIT_COPIES = 3
"""Float32 copies of the logits at the end of a step: themselves, their log-softmax, the gradient."""
READ_LOGIT_COPIES = 2
"""The same without a gradient, when the states of the layers are gone."""
ZERO_BUFFER = 500_000_000
"""Numbers of the buffer in which DeepSpeed collects gradients under ZeRO, however few there are."""
MOST_GATHERED = 1_000_000_000
"""Parameters that DeepSpeed holds whole at a time under ZeRO 3, unless the model has fewer."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process."""

    weights: int
    """With those that ZeRO 3 gathers."""
    bases: int = 0
    """Singular vectors beside the weights."""
    gradients: int = 0
    """With the buffer of ZeRO on a GPU."""
    optimiser: int = 0
    """Moments, and the float32 copy of what trains where there is one."""
    activations: int | None = 0
    """About; None where the model does not tell its sizes."""

    @property
    def total(self) -> int:
        """About, at the moment when it is most."""
        return self.weights + self.bases + self.gradients + self.optimiser + (self.activations or 0)


def memory_of(held: Held, compute: Compute, adapted: AnyMethod | None = None) -> Memory:
    """What one process needs that holds ``held``; ``adapted``: by which method its model was trained before.

    Reads the model's configuration. Raises what ``held.model.check()`` raises.
    """
    from descant.models.state_sizes import layer_sizes

    skeleton = _skeleton(held.model, held.head)
    sizes, each = layer_sizes(skeleton), BYTES[held.precision]
    method = held.trains or adapted
    params = sum(p.numel() for p in skeleton.parameters())
    added = 0 if method is None or isinstance(method, Full) else method.num_parameters(skeleton)
    dropped, bases = _spectral(method, skeleton)
    weights, base_bytes = (params + added - dropped) * each, bases * each
    if held.trains is None:
        return Memory(weights, base_bytes, activations=_read(held, sizes, each))
    assert isinstance(compute, TrainCompute)
    trained = added or params
    shares = [compute.ranks if compute.zero >= stage else 1 for stage in (1, 2, 3)]
    copy = FLOAT32 if compute.zero or held.precision == "bf16" else 0
    buffer = ZERO_BUFFER * each if compute.zero and compute.device == "cuda" else 0
    gathered = min(params + added, MOST_GATHERED) * each if shares[2] > 1 else 0
    return Memory(
        weights=math.ceil(weights / shares[2]) + gathered,
        bases=base_bytes,
        gradients=math.ceil(trained * each / shares[1]) + buffer,
        optimiser=math.ceil(trained * (MOMENTS + copy) / shares[0]),
        activations=_trained(held, sizes, each, compute, skeleton),
    )


@functools.cache
def _skeleton(model: AnyModel, head: Head) -> PreTrainedModel:
    """Many steps hold the same one."""
    from descant.models.skeleton import headed_skeleton

    return headed_skeleton(model, head)


def _spectral(method: AnyMethod | None, skeleton: PreTrainedModel) -> tuple[int, int]:
    """Weights that a method between singular vectors drops, and the numbers of its bases with copies of biases."""
    if not isinstance(method, Spectral):
        return 0, 0
    targets = method.targets(skeleton)
    dropped = sum(t.in_features * t.out_features for t in targets) if method.execution == "factored" else 0
    bases = 0
    for t in targets:
        rank = min(t.in_features, t.out_features)
        bases += rank * (t.in_features + t.out_features + 1)
        bases += t.out_features if getattr(t.module, "bias", None) is not None else 0
    return dropped, bases


def _read(held: Held, sizes: LayerSizes | None, each: int) -> int | None:
    if sizes is None:
        return None
    return max(
        max(sizes.read(rows) * each, READ_LOGIT_COPIES * FLOAT32 * sizes.logits(rows)) for rows in held.rows
    )


def _trained(
    held: Held, sizes: LayerSizes | None, each: int, compute: TrainCompute, skeleton: PreTrainedModel
) -> int | None:
    if sizes is None:
        return None
    dropout = _dropout_numbers(held.trains, skeleton) * (each + 1)  # the dropped input and its mask
    dropout //= sizes.layers if compute.gradient_checkpointing else 1
    total = 0
    for number, tokens in held.rows:
        rows = (number, sizes.tokens or tokens)
        kept = sizes.trained(
            rows, sees_padding=held.head != "next token", checkpointing=compute.gradient_checkpointing
        )
        total += kept * each + rows[0] * rows[1] * dropout + LOGIT_COPIES * FLOAT32 * sizes.logits(rows)
    return total


def _dropout_numbers(method: Any, skeleton: PreTrainedModel) -> int:
    """Numbers a token of the inputs that a method drops some of."""
    rates = [value for name, value in method if name.endswith("_dropout")]
    return sum(t.in_features for t in method.targets(skeleton)) if any(rates) else 0


def memory_of_steps(steps: Iterable[Step], profile: Profile) -> dict[str, Memory | None]:
    """By label, for the steps that hold a model; None where the model is not on this machine, or not made yet.

    Of several steps with one label, as the cells of a comparison have, the one that needs most.
    """
    found: dict[str, Memory | None] = {}
    for step in steps:
        compute = profile.for_stage(step.stage)
        held = step.stage.held(compute)
        if held is None:
            continue
        one = memory_of(held, compute, _adapted(step, profile)) if held.model.is_here else None
        before = found.get(step.label)
        if before is None or one is None or one.total > before.total:
            found[step.label] = one
    return found


def _adapted(step: Step, profile: Profile) -> AnyMethod | None:
    """By which method the model was trained that a step takes as input."""
    trained = (upstream.stage.held(profile.for_stage(upstream.stage)) for upstream in step.inputs.values())
    return next((held.trains for held in trained if held is not None and held.trains is not None), None)


def memory_table(memory: Mapping[str, Memory | None]) -> Table:
    """A line for each step whose model is here, as a table for the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("memory of a worker")
    for name in ("weights", "bases", "gradients", "optimiser", "activations", "all"):
        table.add_column(name, justify="right")
    for label, one in memory.items():
        if one is None:
            continue
        exact = (one.weights, one.bases, one.gradients, one.optimiser)
        about = "unknown" if one.activations is None else f"about {size(one.activations)}"
        about = about if one.activations != 0 else ""
        table.add_row(label, *(size(n) if n else "" for n in exact), about, f"about {size(one.total)}")
    return table


def size(num_bytes: float) -> str:
    """``3.4 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} GiB"
