"""One worker's share of a training: forward, loss, backward, step, save, and the same again after a kill.

Plain torch.distributed and DeepSpeed: Ray Train starts this loop, and so may a test or a benchmark.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
import torch.distributed as dist

from descant.artifacts.commit import files_of
from descant.core.errors import Interrupted
from descant.core.fingerprint import file_digest, fingerprint, folder_digest
from descant.core.seeds import seed_for
from descant.losses import ContrastBatch
from descant.losses.gather import gather_with_gradient
from descant.models.encode import Encoder
from descant.models.encoder import EncoderSpec
from descant.models.load import load_model
from descant.stages.compute_bases import reading_bases
from descant.stages.training.batches import BatchOrder
from descant.stages.training.bi_encoder import BiEncoder, Tokens, micro_batch
from descant.stages.training.checkpoints import Checkpoint, CheckpointManifest, Skipped, keep_only
from descant.stages.training.engine import build_engine, full_state, gradient_norm
from descant.stages.training.export import save_adapter, tensor_digests
from descant.stages.training.rows import TrainingRow, read_rows
from descant.stages.training.settings import TrainCompute, TrainSettings, plan_batches
from descant.stages.training.state import find_state, load_state, save_state, seed_process
from descant.stages.training.step_log import StepReport, append_step, cut_log, sync_log
from descant.stages.training.watch import FiniteWatch, not_finite
from descant.stages.training.workers import all_agree, first_answers, is_first, join_group, keep_freed_memory

log = logging.getLogger(__name__)

CHECKPOINTS, STEPS, ADAPTER, STOP = "checkpoints", "steps.jsonl", "adapter", "stop"
"""What a training's folder holds; a file called ``stop`` asks it to save and end."""

EXAMPLE_ROWS = 8
"""Rows that a method which starts from data sees at once."""


@dataclass(frozen=True)
class Training:
    """All that a worker needs. ``folder`` and ``rows`` must be seen by every worker."""

    rows: Path
    encoder: EncoderSpec
    settings: TrainSettings
    compute: TrainCompute
    folder: Path
    bases: Mapping[str, Path] = field(default_factory=dict)
    """Files of singular vectors by the sha256 of their weights, for methods that use them."""

    def recipe(self) -> str:
        """Fingerprint of everything that changes numbers."""
        rows = folder_digest({name: file_digest(path) for name, path in files_of(self.rows).items()})
        return fingerprint({"settings": self.settings, "encoder": self.encoder, "rows": rows})


@dataclass(frozen=True)
class Outcome:
    """What a worker did: ``resumed_at`` is the step it started from, ``skipped`` what was passed over."""

    num_steps: int
    resumed_at: int
    skipped: tuple[Skipped, ...]
    trainable_parameters: int


def train(training: Training, report: Callable[[StepReport], None]) -> Outcome:
    """Train to the end, from the newest whole checkpoint where there is one; writes ``adapter/``,
    ``steps.jsonl``.

    Rank 0 calls ``report`` after every step. Raises NumericsError before an update that is not finite,
    Interrupted after saving when asked to stop, IntegrityError when saved steps cannot be found again.
    """
    join_group(training.compute.device)
    keep_freed_memory()
    trainer = Trainer(training)
    skipped = trainer.resume()
    resumed_at = trainer.position
    while trainer.position < trainer.order.num_steps:
        figures = trainer.step()
        if is_first():
            append_step(training.folder / STEPS, figures)
            report(figures)
        trainer.save_if_due()
    trainer.export()
    return Outcome(trainer.position, resumed_at, skipped, trainer.trainable_parameters)


class Trainer:
    """The state of one worker. ``position``, the number of steps done, is also the whole data position."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.settings = settings = training.settings
        self.plan = plan_batches(settings, training.compute)
        self.rows = all_agree(lambda: read_rows(training.rows, num_negatives=settings.num_negatives))
        self.order = BatchOrder([row.task for row in self.rows], settings)
        self.position = 0
        self._recipe = training.recipe()
        self.encoder = all_agree(lambda: _adapted_encoder(training, self.rows, self.order))
        trainable = {n: p for n, p in self.encoder.model.named_parameters() if p.requires_grad}
        self.trainable_parameters = sum(p.numel() for p in trainable.values())
        self._start = tensor_digests(trainable) if is_first() else {}
        module = BiEncoder(self.encoder.model, training.encoder)
        self.watch = FiniteWatch(module)
        self.engine = build_engine(
            module,
            settings,
            training.compute,
            self.plan,
            num_steps=self.order.num_steps,
            precision=training.encoder.precision,
        )
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
            self.position = found.manifest.step
            self._kept = [found.folder.name]
        if is_first():
            cut_log(self.training.folder / STEPS, self.position)
        return skipped

    def step(self) -> StepReport:
        """One optimiser step; raises NumericsError on every worker, before the update, if any sees faults."""
        started = time.perf_counter()
        contrast_batches = self.order.step(self.position)
        loss, tokens = 0.0, 0
        for i, row_indices in enumerate(contrast_batches):
            part_loss, part_tokens = self._backward([self.rows[row] for row in row_indices])
            loss, tokens = loss + part_loss / len(contrast_batches), tokens + part_tokens
            if i < len(contrast_batches) - 1:
                self.engine.step()  # counts the micro-step; the update comes with the last one
        loss, tokens = self._exchange(loss, tokens)
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
        )

    def save_if_due(self) -> None:
        """Save every ``save_steps`` steps and at the end; when asked to stop, save and raise Interrupted."""
        at_end = self.position == self.order.num_steps
        if self._stop_asked or at_end or self.position % self.settings.save_steps == 0:
            self.save()
        if self._stop_asked and not at_end:
            raise Interrupted(
                "E-TRN-STOP",
                f"step {self.position} of {self.order.num_steps}",
                "stopped on request",
                "A checkpoint was saved. Run the same command to go on.",
            )

    def save(self) -> Checkpoint:
        """A new checkpoint; the one before is kept, older ones and broken ones are deleted."""
        if is_first():
            sync_log(self.training.folder / STEPS)
        root = self.training.folder / CHECKPOINTS
        saved = save_state(self.engine, root, self._manifest())
        self._kept = [*self._kept[-1:], saved.folder.name]
        first_answers(lambda: keep_only(root, self._kept))
        return saved

    def export(self) -> None:
        """Write the trained adapter and read it back; the caller's ``adapter`` folder is replaced."""
        state = {name.removeprefix("model."): tensor for name, tensor in full_state(self.engine).items()}
        folder = self.training.folder / ADAPTER
        first_answers(
            lambda: save_adapter(self.settings.method, self.encoder.model, state, folder, self._start)
        )

    def _backward(self, contrast_rows: list[TrainingRow]) -> tuple[float, int]:
        """Add the gradients of one contrast batch; this worker's loss and number of tokens."""
        size = self.plan.micro_batch
        batch = micro_batch(
            contrast_rows, dist.get_rank() * size, size, encoder=self.encoder, settings=self.settings
        )
        queries_mh, passages_ph = self.engine(batch.queries, batch.passages)
        candidates_nh = gather_with_gradient(passages_ph)
        device = queries_mh.device
        loss = self.settings.loss(
            ContrastBatch(
                queries_mh, candidates_nh, batch.positive_q.to(device), batch.relevant_qn.to(device)
            )
        )
        self.watch.see(batch.row_ids, queries_mh.detach(), passages_ph.detach(), loss.detach())
        self.engine.backward(loss)
        return float(loss.detach()), batch.num_tokens

    def _exchange(self, loss: float, tokens: int) -> tuple[float, int]:
        """The mean loss and the tokens of all workers; also whether any saw a fault or was asked to stop."""
        faults = self.watch.faults()
        stop = (self.training.folder / STOP).exists()
        own = torch.tensor([loss, tokens, bool(faults), stop], dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(own)
        total_loss, all_tokens, any_fault, self._stop_asked = own.tolist()
        if any_fault:
            raise not_finite(self.position + 1, faults)
        return total_loss / self.plan.workers, int(all_tokens)

    def _manifest(self) -> CheckpointManifest:
        return CheckpointManifest(
            step=self.position,
            recipe=self._recipe,
            workers=self.plan.workers,
            zero=self.training.compute.zero,
            versions={name: version(name) for name in ("torch", "deepspeed", "transformers", "peft")},
        )


def _silence_dropout(model: torch.nn.Module) -> None:
    """Without it CPU attention takes its fast path: a fifth less time a step."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _adapted_encoder(training: Training, rows: Sequence[TrainingRow], order: BatchOrder) -> Encoder:
    """The encoder with its trainable parameters attached, the same on every worker."""
    spec, settings = training.encoder, training.settings
    model, tokenizer = load_model(
        spec.model, precision=spec.precision, attention=spec.attention, device=training.compute.device
    )
    if training.compute.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not settings.base_dropout:
        _silence_dropout(model)
    examples = _examples(Encoder(spec, model, tokenizer), rows, order, settings)
    with reading_bases(training.bases):
        adapted = settings.method.attach(model, seed=seed_for(settings.seed, "adapter"), batches=examples)
    return Encoder(spec, adapted, tokenizer)


def _examples(
    encoder: Encoder, rows: Sequence[TrainingRow], order: BatchOrder, settings: TrainSettings
) -> Iterator[Tokens]:
    """Queries, then passages, of a few rows at a time in order: for methods that start from data.

    All workers read the same batches, however many they are, so that they start from the same adapter.
    """
    for step in range(order.num_steps):
        for row_indices in order.step(step):
            contrast_rows = [rows[row] for row in row_indices]
            for start in range(0, len(contrast_rows), EXAMPLE_ROWS):
                size = min(EXAMPLE_ROWS, len(contrast_rows) - start)
                batch = micro_batch(contrast_rows, start, size, encoder=encoder, settings=settings)
                yield from (batch.queries, batch.passages)
