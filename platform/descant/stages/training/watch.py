"""Stopping before an update that is not finite, and naming the rows it came from."""

from dataclasses import dataclass, field

import torch
import torch.distributed as dist

from descant.core.errors import NumericsError
from descant.stages.training.objective import Share


@dataclass
class Faults:
    """What one worker saw in a step that is not finite: rows by their outputs, losses, gradients."""

    rows: list[str] = field(default_factory=list)
    loss: bool = False
    gradient: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows) or self.loss or self.gradient


class FiniteWatch:
    """Looks at every output, loss and gradient of this worker as it is made, before DeepSpeed takes it."""

    def __init__(self, module: torch.nn.Module) -> None:
        trainable = [p for p in module.parameters() if p.requires_grad]
        self._bad_gradient = torch.zeros((), dtype=torch.bool, device=trainable[0].device)
        self._faults = Faults()
        for parameter in trainable:
            parameter.register_hook(self._see_gradient)

    def see(self, share: Share) -> None:
        """Look at the outputs of a micro-batch's rows and at their loss."""
        num_rows = len(share.row_ids)
        finite_m = torch.stack([o.reshape(num_rows, -1).isfinite().all(1) for o in share.outputs]).all(0)
        is_finite = bool(torch.isfinite(share.loss))
        if is_finite and bool(finite_m.all()):
            return
        self._faults.rows += [
            row for row, finite in zip(share.row_ids, finite_m.tolist(), strict=True) if not finite
        ]
        self._faults.loss |= not is_finite

    def faults(self) -> Faults:
        """What this worker has seen since the start; reads the device once."""
        self._faults.gradient = bool(self._bad_gradient)
        return self._faults

    def _see_gradient(self, gradient: torch.Tensor) -> None:
        self._bad_gradient |= ~torch.isfinite(gradient).all()


def not_finite(step: int, own: Faults, outputs: str) -> NumericsError:
    """The error of a step that some worker saw faults in, the same on every worker; all must call this.

    ``outputs`` is what the rows' outputs are called. Rows come before losses and gradients as the cause: one bad
    vector spoils the loss of every worker.
    """
    everyone: list[Faults] = [own] * dist.get_world_size()
    dist.all_gather_object(everyone, own)
    rows = [f"rank {rank}: {', '.join(faults.rows)}" for rank, faults in enumerate(everyone) if faults.rows]
    if rows:
        found = f"the {outputs} of these rows are not finite: {'; '.join(rows)}"
    else:
        kind = "loss" if any(faults.loss for faults in everyone) else "gradient"
        ranks = [str(rank) for rank, faults in enumerate(everyone) if getattr(faults, kind)]
        found = f"the {kind} on rank {', '.join(ranks)} is not finite"
    return NumericsError(
        "E-TRN-FINITE",
        f"step {step}",
        found,
        "The update was not made and the checkpoints are whole. Look at the data, or lower learning_rate.",
    )
