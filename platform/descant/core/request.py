"""What a step asks of a cluster: processes that hold CPUs and GPUs at the same time."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field


def _share_or_whole(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("Ray gives out a share of one GPU, or whole GPUs")
    return gpus


Gpus = Annotated[float, Field(ge=0), AfterValidator(_share_or_whole)]
"""GPUs of one process: none, a share of one device, or whole devices."""


@dataclass(frozen=True)
class Request:
    """Processes of one size. Each lies on one node, and its share of a GPU on one device."""

    processes: int
    """How many are asked for."""
    cpus: float
    """Logical CPUs that each holds."""
    gpus: float
    """GPUs that each holds."""
    least: int = 1
    """How many there must be room for at a time, or the work never begins; above, it goes on with what there is."""
    beside: float = 0
    """Logical CPUs of one more process, which waits for them."""

    def __str__(self) -> str:
        """``2 x 0.9 CPU``, ``4 x (4 CPU + 1 GPU)``."""
        each = amounts(self.cpus, self.gpus)
        size = f"({each})" if " + " in each else each
        return f"{self.processes} x {size}" + (f" + {self.beside:g} CPU" if self.beside else "")


def amounts(cpus: float, gpus: float) -> str:
    """``4 CPU + 1 GPU``."""
    return f"{cpus:g} CPU" + (f" + {gpus:g} GPU" if gpus else "")
