"""What a checkpoint holds: parameters, optimiser, schedule (DeepSpeed's), each worker's random state."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from descant.artifacts.commit import storage_errors
from descant.artifacts.mirror import pull_missing
from descant.core.errors import ConfigError, IntegrityError
from descant.core.seeds import seed_for
from descant.stages.training.checkpoints import (
    Checkpoint,
    CheckpointManifest,
    Skipped,
    new_checkpoint,
    newest_valid,
    seal,
)
from descant.stages.training.workers import first_answers
from descant.stages.training.workplace import share_files

TAG = "state"


def save_state(engine: Any, root: Path, manifest: CheckpointManifest) -> Checkpoint:
    """Save all workers' state as one new checkpoint; every worker must call this."""
    folder = first_answers(lambda: new_checkpoint(root, manifest.step))
    with storage_errors(folder):
        (folder / TAG).mkdir(parents=True, exist_ok=True)  # on this worker's machine
        engine.save_checkpoint(str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=True)
        _rng_file(folder).write_text(json.dumps(random_state()))
    dist.barrier()
    elsewhere = share_files(folder)
    return first_answers(lambda: seal(folder, manifest, elsewhere))


def find_state(root: Path, wanted: CheckpointManifest) -> tuple[Checkpoint | None, tuple[Skipped, ...]]:
    """The checkpoint to resume from, the same on every worker, and what was passed over.

    Raises IntegrityError when steps were saved and none is whole, ConfigError when the workers or the ZeRO
    stage changed: DeepSpeed's shards fit the layout that wrote them only. Without shards (ZeRO 0) any number of workers
    goes on.
    """
    found, skipped = first_answers(lambda: newest_valid(root, wanted.recipe))
    if found is not None:
        had, want = (found.manifest.workers, found.manifest.zero), (wanted.workers, wanted.zero)
        if had != want and (had[1] or want[1]):
            raise ConfigError(
                "E-TRN-LAYOUT",
                f"{found.folder.name}, step {found.manifest.step}",
                f"was saved by {had[0]} workers under ZeRO {had[1]}, now {want[0]} under ZeRO {want[1]}",
                f"Nothing was changed. Set workers: {had[0]} and zero: {had[1]}, or delete the checkpoints.",
            )
    return found, skipped


def load_state(engine: Any, checkpoint: Checkpoint) -> None:
    """Put a verified checkpoint into a fresh engine; this worker's random generators too, where as many saved it."""
    pull_missing(checkpoint.folder)
    path, _ = engine.load_checkpoint(str(checkpoint.folder), tag=TAG, load_module_strict=False)
    if path is None:
        raise IntegrityError(
            "E-TRN-RESUME", str(checkpoint.folder), "DeepSpeed found no state in it", "Nothing was changed."
        )
    if checkpoint.manifest.workers == dist.get_world_size():
        restore_random_state(json.loads(_rng_file(checkpoint.folder).read_text()))


def seed_process(seed: int) -> None:
    """Start this worker's random generators on a stream of its own (dropout is the one consumer)."""
    own = seed_for(seed, "worker", dist.get_rank())
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)


def random_state() -> dict[str, Any]:
    """The state of this process's random generators as plain JSON data."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": torch.cuda.get_rng_state().numpy().tobytes().hex() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of ``random_state``."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_bytes(state["cuda"]))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def _rng_file(folder: Path) -> Path:
    return folder / f"rng-{dist.get_rank()}.json"
