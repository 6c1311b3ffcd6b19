"""The objective of a language model on a task: the likelihood of each response after its prompt.

The prompt adds nothing to the loss, which is averaged over the response tokens of a step. A row that is too long
loses the beginning of its prompt, and its response only where that alone is too long.

Legend: b units of a micro-batch, t tokens, k places that are scored, r rows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn.functional import cross_entropy

from descant.models.causal import CausalModel, CausalSpec, Pair, load_causal
from descant.models.folders import ADAPTER
from descant.stages.training.attach import attach
from descant.stages.training.export import save_adapter
from descant.stages.training.independent import Forwarded, IndependentRows, Record, TaskTraining, summed
from descant.stages.training.packing import check_kept_apart, pack


@dataclass(frozen=True, kw_only=True)
class CausalTraining(TaskTraining):
    """The training of a causal language model."""

    causal: CausalSpec
    start: Path | None = None
    """Folder of a model whose vocabulary was extended, where the training does not start from the base itself."""

    @property
    def packed(self) -> bool:
        """Whether several texts share a sequence."""
        return self.compute.packed

    @property
    def model_spec(self) -> CausalSpec:
        """The settings of the model."""
        return self.causal

    def objective(self) -> "NextToken":
        """The objective of one worker."""
        return NextToken(self)


@dataclass(frozen=True)
class Document:
    """A prompt with its response, as tokens."""

    id: str
    pair: Pair


Documents = tuple[Document, ...]
"""What the model reads as one: a document, or several packed ones."""


class NextToken(IndependentRows[Documents]):
    """Cross entropy of the response tokens."""

    outputs: ClassVar[str] = "losses"

    def __init__(self, training: CausalTraining) -> None:
        super().__init__(training)
        self.packed = training.packed
        self.causal: CausalModel = load_causal(
            training.causal, folder=training.start, device=training.compute.device
        )
        if self.packed:
            check_kept_apart(self.causal.model)
        self.model: torch.nn.Module = attach(training, self.causal.model, self._examples())
        self.causal.model = self.module = self.model

    def units(self, records: Sequence[Record]) -> list[Documents]:
        """The rows with their responses, packed where the profile says so."""
        return self._sequences(self.documents(records))

    def documents(self, records: Sequence[Record]) -> list[Document]:
        """The rows as tokens."""
        return [
            Document(r["id"], self.causal.encode_pair(r["prompt"], r["response"], end=True)) for r in records
        ]

    def size(self, unit: Documents) -> int:
        """Tokens of all its documents."""
        return sum(len(document.pair.ids) for document in unit)

    def counted(self, unit: Documents) -> int:
        """Response tokens."""
        return sum(document.pair.num_continuation for document in unit)

    def forward(self, engine: Any, units: Sequence[Documents]) -> Forwarded:
        """The cross entropy of the response tokens summed, by row and over all rows."""
        loss_r = self.losses(engine, units)
        documents = [document for unit in units for document in unit]
        return Forwarded(
            row_ids=[document.id for document in documents],
            loss_sum=loss_r.sum(),
            outputs=[loss_r.detach()],
            tokens=sum(map(self.size, units)),
            cut_rows=sum(document.pair.is_cut for document in documents),
        )

    def validate(self, engine: Any) -> Mapping[str, float]:
        """``bits_per_byte`` of the responses, and ``accuracy`` by likelihood where every row has choices."""
        bits, num_bytes, right, asked, rows = 0.0, 0.0, 0.0, 0.0, 0
        for records in self.validation_batches():
            losses = self._validation_losses(engine, records)
            for r in records:
                bits += losses[r["id"], -1] / math.log(2)
                num_bytes += len(r["response"].encode())
                if r["gold"] >= 0:
                    best = min(range(len(r["choices"])), key=lambda i: (losses[r["id"], i], i))
                    right, asked = right + (best == r["gold"]), asked + 1
            rows += len(records)
        scores = {"bits_per_byte": bits / num_bytes}
        return scores | {"accuracy": right / rows} if asked == rows else scores

    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write the adapter."""
        save_adapter(self.settings.method, self.model, state, folder / ADAPTER, start)

    def _validation_losses(self, engine: Any, records: Sequence[Record]) -> dict[tuple[str, int], float]:
        """Cross entropy in nats of each row's response (number -1) and choices, all workers' together."""
        keys: list[tuple[str, int]] = []
        documents: list[Document] = []
        for r in records:
            for number, text in enumerate([r["response"], *r["choices"]], start=-1):
                keys.append((r["id"], number))
                documents.append(Document(str(len(documents)), self.causal.encode_pair(r["prompt"], text)))
        values = [0.0] * len(documents)
        for part in self.dealt(self._sequences(documents)):
            losses = self.losses(engine, part.units).double().tolist()
            if part.counts:
                for document, loss in zip((d for unit in part.units for d in unit), losses, strict=True):
                    values[int(document.id)] = loss
        return dict(zip(keys, summed(values, engine.device), strict=True))

    def _sequences(self, documents: Sequence[Document]) -> list[Documents]:
        if not self.packed:
            return [(document,) for document in documents]
        lengths = [len(document.pair.ids) for document in documents]
        return [tuple(found) for found in pack(documents, lengths, self.causal.spec.max_tokens)]

    def losses(self, engine: Any, units: Sequence[Documents]) -> torch.Tensor:
        """float32 [r]: the cross entropy of each document's continuation, summed over its tokens.

        Sequences are padded right, where no earlier token looks, so a causal model needs no mask for it.
        """
        longest = max(map(self.size, units))
        ids_bt, positions_bt, rows_bt = (
            torch.full((len(units), longest), fill) for fill in (self.causal.pad_id, 0, -1)
        )
        row = 0
        for b, unit in enumerate(units):
            start = 0
            for document in unit:
                end = start + len(document.pair.ids)
                ids_bt[b, start:end] = torch.tensor(document.pair.ids)
                positions_bt[b, start:end] = torch.arange(end - start)
                rows_bt[b, start + document.pair.num_prompt : end] = row
                start, row = end, row + 1
        device = engine.device
        # A token is scored by the logits of the place before it; places that score none are left out of the head.
        kept_k = (rows_bt[:, 1:] >= 0).any(0).nonzero().flatten()
        targets_bk, rows_bk = ids_bt[:, kept_k + 1], rows_bt[:, kept_k + 1]
        arguments = {"position_ids": positions_bt.to(device)} if self.packed else {}
        logits_bkv = engine(
            input_ids=ids_bt.to(device), logits_to_keep=kept_k.to(device), use_cache=False, **arguments
        ).logits
        is_target_bk = rows_bk >= 0
        chosen = is_target_bk.to(device)
        losses = cross_entropy(
            logits_bkv[chosen].float(), targets_bk[is_target_bk].to(device), reduction="none"
        )
        zeros_r = torch.zeros(row, dtype=torch.float32, device=device)
        return zeros_r.index_add(0, rows_bk[is_target_bk].to(device), losses)

    def _examples(self) -> Iterator[Mapping[str, torch.Tensor]]:
        for records in self.examples():
            pairs = [document.pair for document in self.documents(records)]
            longest = max(len(pair.ids) for pair in pairs)
            ids_bt = torch.full((len(pairs), longest), self.causal.pad_id)
            mask_bt = torch.zeros_like(ids_bt)
            for b, pair in enumerate(pairs):
                ids_bt[b, : len(pair.ids)] = torch.tensor(pair.ids)
                mask_bt[b, : len(pair.ids)] = 1
            yield {"input_ids": ids_bt, "attention_mask": mask_bt}
