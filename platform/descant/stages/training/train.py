"""The training loop under Ray Train: workers started, watched and restarted, progress and errors brought
back. Without workers it runs in the calling process.

Ray is asked for processes, a process group and restarts only. Checkpoints and progress lie in the training's
folder, so each start has a Ray name of its own and nothing that Ray left behind can stop or mislead the next
one.
"""

import logging
import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from descant.core.errors import DescantError, Interrupted, ResourceError
from descant.stages.training.in_process import train_here
from descant.stages.training.loop import Outcome, train
from descant.stages.training.objective import Training
from descant.stages.training.settings import TrainCompute
from descant.stages.training.step_log import StepReport
from descant.stages.training.workplace import RAY, Followed

if TYPE_CHECKING:
    from ray.train import ScalingConfig, TrainingFailedError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


def run_training(training: Training, on_progress: Callable[[StepReport], None]) -> Outcome:
    """Train to the end, on Ray workers where there are any; the same call resumes what was killed or stopped.

    Leaves what the objective saves, ``steps.jsonl`` and ``checkpoints/`` in the training's folder and calls
    ``on_progress`` here once for every step, those of an earlier call included. Ctrl-C asks the workers to save
    and stop, a second one does not wait for them. What ``on_progress`` raises ends the training as Ctrl-C does; without
    workers it is called between steps. Raises ConfigError and DataError before anything
    starts, what the workers raise, and ResourceError when they keep dying.
    """
    training = training.resolved()
    training.check()
    training.folder.mkdir(parents=True, exist_ok=True)
    followed = Followed(training.folder, training.rows)
    if not training.compute.workers:
        return train_here(training, on_progress)
    ray_folder = training.folder / RAY
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(_fit, training, ray_folder)
        _follow(followed, running, on_progress)
    shutil.rmtree(ray_folder, ignore_errors=True)
    answer = running.result()
    followed.take_results()
    if isinstance(answer, DescantError):
        raise answer
    return answer


def _fit(training: Training, ray_folder: Path) -> Outcome | DescantError:
    from ray.train import FailureConfig, RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    from descant.stages.training.network import NodeTorchConfig

    compute = training.compute
    trainer = TorchTrainer(
        _work,  # type: ignore[arg-type]  # the stub forgets that it may answer
        train_loop_config={"training": training},
        torch_config=NodeTorchConfig(backend="nccl" if compute.device == "cuda" else "gloo"),
        scaling_config=scaling(compute),
        run_config=RunConfig(
            name=f"train-{uuid.uuid4().hex[:8]}",
            storage_path=str(ray_folder),
            failure_config=FailureConfig(max_failures=compute.max_failures),
        ),
    )
    try:
        return trainer.fit().return_value  # type: ignore[attr-defined]  # V2's Result has it
    except TrainingFailedError as error:
        raise _gave_up(training, error) from error


def scaling(compute: TrainCompute) -> "ScalingConfig":
    """How many workers of which size Ray Train is asked for."""
    from ray.train import ScalingConfig

    resources = {"CPU": compute.cpus_per_worker}
    if compute.gpus_per_worker:
        resources["GPU"] = compute.gpus_per_worker
    fewest = compute.min_workers
    return ScalingConfig(
        num_workers=compute.workers if fewest is None else (fewest, compute.workers),  # type: ignore[arg-type]  # V1's
        use_gpu=bool(compute.gpus_per_worker),
        resources_per_worker=resources,
    )


def _work(config: dict[str, Training]) -> Outcome | DescantError:
    """One worker. Our own errors are raised by all workers alike: handed back, they are not tried again."""
    import torch
    from ray.train import get_context

    training = config["training"]
    training = replace(training, compute=training.compute.fixed(get_context().get_world_size()))
    torch.set_num_threads(max(1, int(training.compute.cpus_per_worker)))
    try:
        return train(training, report=lambda figures: None)
    except DescantError as error:
        return error


def _follow(
    followed: Followed, running: "Future[Outcome | DescantError]", on_progress: Callable[[StepReport], None]
) -> None:
    """Report new lines of the step log until the training ends; make the first Ctrl-C a request to stop."""
    last_step, asked = 0, False
    while True:
        ended = running.done()
        try:
            for figures in followed.steps(at_end=ended):
                if figures.step > last_step:
                    on_progress(figures)
                    last_step = figures.step
            if ended:
                return
            time.sleep(POLL_SECONDS)
        except (KeyboardInterrupt, Interrupted):
            if asked:
                raise
            asked = True
            log.warning("stopping after this step; press Ctrl-C again not to wait")
            followed.ask_to_stop()
        except BaseException:  # whoever follows has seen enough, as a scheduler of trials
            followed.ask_to_stop()
            raise


def _gave_up(training: Training, error: "TrainingFailedError") -> Exception:
    """Dead workers are a matter of resources; workers that all raised show a bug of ours."""
    failures = {rank: str(why).strip() for rank, why in getattr(error, "worker_failures", {0: error}).items()}
    listed = "; ".join(f"rank {rank}: {text.splitlines()[-1]}" for rank, text in failures.items())
    if all("Traceback (most recent call last)" in text for text in failures.values()):
        return RuntimeError(f"training in {training.folder} failed on every worker: {listed}")
    return ResourceError(
        "E-TRN-WORKERS",
        str(training.folder),
        f"workers failed more than {training.compute.max_failures} times, at last {listed}",
        "Checkpoints are whole, the same command resumes. If memory ran out, add workers or raise zero.",
    )
