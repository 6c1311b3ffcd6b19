"""One worker's share of a training: forward, loss, backward, step, save, and the same again after a kill.

Plain torch.distributed and DeepSpeed: Ray Train starts this loop, and so may any process.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

import torch
import torch.distributed as dist

from descant.artifacts.mirror import pull, push
from descant.core.errors import Interrupted
from descant.core.seeds import seed_for
from descant.stages.training.checkpoints import Checkpoint, CheckpointManifest, Skipped, forget, keep_only
from descant.stages.training.engine import build_engine, full_state, gradient_norm, import_deepspeed
from descant.stages.training.export import tensor_digests
from descant.stages.training.memory import PeakMemory, keep_freed_memory
from descant.stages.training.objective import Training
from descant.stages.training.state import find_state, load_state, save_state, seed_process
from descant.stages.training.step_log import StepReport, append_step, cut_log, sync_log
from descant.stages.training.watch import FiniteWatch, not_finite
from descant.stages.training.workers import all_agree, first_answers, is_first, join_group, largest
from descant.stages.training.workplace import CHECKPOINTS, STEPS, Workplace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a worker did: ``resumed_at`` is the step it started from, ``skipped`` what was passed over.

    ``trainable_parameters`` counts all that trained, ``head_parameters`` those of them beside the adapter.
    ``peak_memory_bytes`` is that of the worker that needed most, ``peak_memory_kind`` says what was measured.
    """

    num_steps: int
    resumed_at: int
    skipped: tuple[Skipped, ...]
    trainable_parameters: int
    head_parameters: int
    peak_memory_bytes: int
    peak_memory_kind: str


def train(training: Training, report: Callable[[StepReport], None]) -> Outcome:
    """Train to the end, from the newest whole checkpoint where there is one; writes what the objective saves,
    ``steps.jsonl``.

    Rank 0 calls ``report`` after every step. Raises NumericsError before an update that is not finite,
    Interrupted after saving when asked to stop, IntegrityError when saved steps cannot be found again.
    """
    join_group(training.compute.device)
    keep_freed_memory()
    import_deepspeed(training.compute.device)  # before memory is looked at
    memory = PeakMemory(training.compute.device)
    trainer = Trainer(training)
    try:
        skipped = trainer.resume()
        resumed_at = trainer.position
        while trainer.position < trainer.num_steps:
            figures = trainer.validated(trainer.step())
            if is_first():
                append_step(training.folder / STEPS, figures)
                trainer.workplace.log_grew()
                report(figures)
            trainer.save_if_due()
        trainer.export()
    finally:
        trainer.engine.destroy()
    return Outcome(
        num_steps=trainer.position,
        resumed_at=resumed_at,
        skipped=skipped,
        trainable_parameters=trainer.trainable_parameters,
        head_parameters=trainer.head_parameters,
        peak_memory_bytes=largest(memory.num_bytes),
        peak_memory_kind=memory.kind,
    )


class Trainer:
    """The state of one worker. ``position``, the number of steps done, is also the whole data position."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.workplace = Workplace(training.folder, training.rows)
        self.settings = settings = training.settings
        self.position = 0
        self._recipe = training.recipe()
        self.objective = all_agree(training.objective)
        self.num_steps = self.objective.num_steps
        module = self.objective.module
        trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.trainable_parameters = sum(p.numel() for p in trainable.values())  # before weights are sharded
        self.head_parameters = self.objective.head_parameters
        self._start = tensor_digests(trainable) if is_first() else {}
        self.watch = FiniteWatch(module)
        self.engine = build_engine(self.objective, settings, training.compute)
        self.engine.train()
        seed_process(settings.seed)
        self._kept: list[str] = []
        self._stop_asked = False

    def resume(self) -> tuple[Skipped, ...]:
        """Go to the newest whole checkpoint; what was passed over on the way."""
        found, skipped = find_state(self.training.folder / CHECKPOINTS, self._manifest())
        for folder in skipped:
            log.warning("checkpoint %s was passed over: it %s", folder.name, folder.reason)
        if found is not None:
            load_state(self.engine, found)
            if found.manifest.workers != dist.get_world_size():
                log.warning("going on with %d workers, not %d", dist.get_world_size(), found.manifest.workers)
                seed_process(seed_for(self.settings.seed, "step", found.manifest.step))
            self.position = found.manifest.step
            self._kept = [found.folder.name]
        if is_first():
            pull(self.training.folder / STEPS)
            cut_log(self.training.folder / STEPS, self.position)
        return skipped

    def step(self) -> StepReport:
        """One optimiser step; raises NumericsError on every worker, before the update, if any sees faults."""
        started = time.perf_counter()
        loss, tokens, cut_rows = self._exchange(*self._backward())
        norm, rate = gradient_norm(self.engine), self.engine.get_lr()[0]
        self.engine.step()
        self.position += 1
        return StepReport(
            step=self.position,
            loss=loss,
            learning_rate=rate,
            grad_norm=float(self.engine.get_global_grad_norm()) if norm is None else norm,
            rows_per_second=self.settings.global_batch / (time.perf_counter() - started),
            tokens=tokens,
            cut_rows=cut_rows,
        )

    def validated(self, figures: StepReport) -> StepReport:
        """``figures`` with the scores on the validation rows, where this step is to be validated."""
        every = self.training.validate_every
        if every is None or (self.position % every and self.position != self.num_steps):
            return figures
        return replace(figures, validation=self.validate())

    def validate(self) -> Mapping[str, float]:
        """Scores on the validation rows by name; leaves the training as it is."""
        self.engine.eval()
        with torch.no_grad():
            scores = self.objective.validate(self.engine)
        self.engine.train()
        return scores

    def save_if_due(self) -> None:
        """Save every ``save_steps`` steps and at the end; when asked to stop, save and raise Interrupted."""
        at_end = self.position == self.num_steps
        if self._stop_asked or at_end or self.position % self.settings.save_steps == 0:
            self.save()
        if self._stop_asked and not at_end:
            raise Interrupted(
                "E-TRN-STOP",
                f"step {self.position} of {self.num_steps}",
                "stopped on request",
                "A checkpoint was saved. Run the same command to go on.",
            )

    def save(self) -> Checkpoint:
        """A new checkpoint; the one before is kept, older ones and broken ones are deleted."""
        if is_first():
            sync_log(self.training.folder / STEPS)
            push(self.training.folder / STEPS)
        root = self.training.folder / CHECKPOINTS
        saved = save_state(self.engine, root, self._manifest())
        self._kept = [*self._kept[-1:], saved.folder.name]
        first_answers(lambda: keep_only(root, self._kept))
        forget(root, self._kept)
        return saved

    def export(self) -> None:
        """Write what was trained and read it back; what an earlier call wrote is replaced."""
        state = full_state(self.engine)
        first_answers(lambda: self._write_and_share(state))

    def _write_and_share(self, state: dict[str, torch.Tensor]) -> None:
        self.objective.save(state, self._start, self.training.folder)
        self.workplace.share_results()

    def _backward(self) -> tuple[float, int, int]:
        """Add the gradients of this worker's micro-batches; its loss, tokens and cut rows."""
        parts = self.objective.micro_batches(self.position)
        loss, tokens, cut_rows = 0.0, 0, 0
        for i, part in enumerate(parts):
            at_boundary = i == len(parts) - 1
            self.engine.set_gradient_accumulation_boundary(at_boundary)
            share = self.objective.share(self.engine, part)
            self.watch.see(share)
            self.engine.backward(share.loss / share.over, scale_wrt_gas=False)
            loss += float(share.loss.detach()) / share.over
            tokens, cut_rows = tokens + share.tokens, cut_rows + share.cut_rows
            if not at_boundary:
                self.engine.step()  # counts the micro-step; the update comes with the last one
        return loss, tokens, cut_rows

    def _exchange(self, loss: float, tokens: int, cut_rows: int) -> tuple[float, int, int]:
        """Loss, tokens and cut rows of all workers; also whether any saw a fault or was asked to stop."""
        faults = self.watch.faults()
        stop = is_first() and self.workplace.stop_asked()
        own = torch.tensor(
            [loss, tokens, cut_rows, bool(faults), stop], dtype=torch.float64, device=self.engine.device
        )
        dist.all_reduce(own)
        total_loss, all_tokens, all_cut, any_fault, self._stop_asked = own.tolist()
        if any_fault:
            raise not_finite(self.position + 1, faults, self.objective.outputs)
        return total_loss / dist.get_world_size(), int(all_tokens), int(all_cut)

    def _manifest(self) -> CheckpointManifest:
        return CheckpointManifest(
            step=self.position,
            recipe=self._recipe,
            workers=dist.get_world_size(),
            zero=self.training.compute.zero,
            versions={name: version(name) for name in ("torch", "deepspeed", "transformers", "peft")},
        )
