"""Scenarios that two real worker processes run one after the other, so that imports are paid for once."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from descant.adapters import Dora, Full, Svft
from descant.core.errors import DescantError
from descant.stages.training.engine import full_state
from descant.stages.training.loop import Trainer, train
from descant.stages.training.objective import Training
from descant.stages.training.retrieval import RetrieverTraining
from descant.stages.training.settings import TrainCompute
from tests.stages.toy_encoder import shared_encoder
from tests.stages.training.test_masked_tokens import training as masked
from tests.stages.training.toy import POISON, figures, llama, run, toy_training


def join(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)


def leave() -> None:
    """End together and at once: gloo's threads may outlive the groups that DeepSpeed still holds, and abort."""
    dist.barrier()
    os._exit(0)


def work_all(rank: int, folder: Path) -> None:
    """Every scenario; rank 0 writes what came out."""
    torch.set_num_threads(1)
    tempfile.tempdir = str(folder)  # nothing is tidied up by a process that leaves as these do
    shared_encoder()  # before there is a group, in which transformers saves on rank 0 alone
    join(rank, folder)
    results = {name: scenario(folder / name) for name, scenario in SCENARIOS.items()}
    if rank == 0:
        (folder / "results.json").write_text(json.dumps(results))
    leave()


def work_one(rank: int, training: RetrieverTraining) -> None:
    """A whole training."""
    join(rank, training.folder)
    train(training, report=lambda figures: None)
    leave()


def sharded(zero: int, **values: Any) -> TrainCompute:
    return TrainCompute(workers=2, zero=zero, **values)


def six_steps(folder: Path, zero: int, *, recompute: bool = False, **values: Any) -> dict[str, Any]:
    """Six steps of a retriever."""
    return steps_of(llama(folder, compute=sharded(zero, gradient_checkpointing=recompute), **values))


def steps_of(training: Training) -> dict[str, Any]:
    """Losses, gradient norms and final weights of six steps without dropout."""
    trainer = Trainer(training)
    reports = run(trainer, 6)
    return {
        "losses": [r.loss for r in reports],
        "norms": [r.grad_norm for r in reports],
        "weights": {name: t.flatten().tolist() for name, t in full_state(trainer.engine).items()},
    }


def resumed(folder: Path, zero: int) -> dict[str, Any]:
    """Eleven steps after a save, undisturbed and by a new trainer that resumed."""
    training = toy_training(folder, compute=sharded(zero))
    trainer = Trainer(training)
    run(trainer, 5)
    trainer.save()
    undisturbed = figures(run(trainer, 11))
    again = Trainer(training)
    again.resume()
    return {"position": again.position, "undisturbed": undisturbed, "again": figures(run(again, 11))}


def poisoned(folder: Path, zero: int) -> dict[str, Any]:
    """A token whose embedding is not a number, in one row of one worker."""
    trainer = Trainer(toy_training(folder, compute=sharded(zero), poison="row-003"))
    embeddings = trainer.objective.encoder.model.get_input_embeddings()
    token = trainer.objective.encoder.tokenizer.convert_tokens_to_ids(POISON)
    with torch.no_grad():
        embeddings.weight[token] = float("nan")
    message, before = "", {}
    try:
        for _ in range(trainer.num_steps):
            before = {name: t.tolist() for name, t in full_state(trainer.engine).items()}
            trainer.step()
    except DescantError as error:
        message = str(error)
    after = {name: t.tolist() for name, t in full_state(trainer.engine).items()}
    step = trainer.position
    rows = [
        [trainer.objective.rows[i].id for i in batch] for batch in trainer.objective.order.step(step).tolist()
    ]
    return {"message": message, "step": step + 1, "unchanged": before == after, "rows": rows}


BANDED = Svft(pattern="banded", off_diagonals=2, form="beside")
FACTORED = Svft(pattern="banded", off_diagonals=2, execution="factored")
SCENARIOS = {
    "zero-0": lambda folder: six_steps(folder, 0),
    "zero-1": lambda folder: six_steps(folder, 1),
    "zero-2": lambda folder: six_steps(folder, 2),
    "zero-3": lambda folder: six_steps(folder, 3),
    "contrast-4": lambda folder: six_steps(folder, 1, contrast_batch=4),
    "recompute": lambda folder: six_steps(folder, 0, recompute=True),
    "dora-3": lambda folder: six_steps(folder, 3, method=Dora(r=4, lora_dropout=0.0)),
    "dora-0": lambda folder: six_steps(folder, 0, method=Dora(r=4, lora_dropout=0.0)),
    "full-0": lambda folder: six_steps(folder, 0, method=Full()),
    "full-2": lambda folder: six_steps(folder, 2, method=Full()),
    "full-3": lambda folder: six_steps(folder, 3, method=Full()),
    "svft-0": lambda folder: six_steps(folder, 0, method=BANDED),
    "svft-1": lambda folder: six_steps(folder, 1, method=BANDED),
    "svft-2": lambda folder: six_steps(folder, 2, method=BANDED),
    "svft-3": lambda folder: six_steps(folder, 3, method=BANDED),
    "svft-factored-0": lambda folder: six_steps(folder, 0, method=FACTORED),
    "svft-factored-3": lambda folder: six_steps(folder, 3, method=FACTORED),
    "masked-0": lambda folder: steps_of(masked(folder, compute=sharded(0))),
    "masked-3": lambda folder: steps_of(masked(folder, compute=sharded(3))),
    "bf16-0": lambda folder: six_steps(folder, 0, precision="bf16"),
    "bf16-1": lambda folder: six_steps(folder, 1, precision="bf16"),
    "bf16-2": lambda folder: six_steps(folder, 2, precision="bf16"),
    "bf16-3": lambda folder: six_steps(folder, 3, precision="bf16"),
    "resume-0": lambda folder: resumed(folder, 0),
    "resume-2": lambda folder: resumed(folder, 2),
    "resume-3": lambda folder: resumed(folder, 3),
    "poison-0": lambda folder: poisoned(folder, 0),
    "poison-2": lambda folder: poisoned(folder, 2),
}
