"""A training in the calling process, as its only worker: one after the other in any thread, with nothing left behind.

What stays is the process group of one that ``join_group`` made, since DeepSpeed keeps the groups it has seen.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from descant.core.errors import ConfigError
from descant.stages.training.loop import Outcome, train
from descant.stages.training.memory import give_memory_back
from descant.stages.training.objective import Training
from descant.stages.training.settings import TrainCompute
from descant.stages.training.state import random_state, restore_random_state
from descant.stages.training.step_log import StepReport, read_steps
from descant.stages.training.workplace import STEPS

_one_training = threading.Lock()
"""Random generators and the number of threads belong to the process: a second training waits."""


def train_here(training: Training, on_progress: Callable[[StepReport], None]) -> Outcome:
    """Train to the end or until ``on_progress`` raises; its checkpoints are kept.

    ``on_progress`` is called once for every step, those before a resume first. Raises what ``train`` raises,
    ConfigError in a process that already is one of several workers.
    """
    last_step = 0

    def report(figures: StepReport) -> None:
        nonlocal last_step
        earlier = read_steps(training.folder / STEPS)[:-1] if not last_step else []
        for step in (*earlier, figures):
            last_step = step.step
            on_progress(step)

    with _one_training, _borrowed_process(training.compute):
        outcome = train(training, report)
    for step in read_steps(training.folder / STEPS)[last_step:]:  # nothing was left to train
        on_progress(step)
    return outcome


@contextmanager
def _borrowed_process(compute: TrainCompute) -> Iterator[None]:
    """Threads as a worker has them; random generators, threads and memory are given back."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        raise ConfigError(
            "E-TRN-GROUP",
            "workers = 0",
            f"this process is one of {dist.get_world_size()} in a process group",
            "Nothing was started. Train in a process of its own, or set workers: 1.",
        )
    state, threads = random_state(), torch.get_num_threads()
    torch.set_num_threads(max(1, int(compute.cpus_per_worker)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        restore_random_state(state)
        give_memory_back()
