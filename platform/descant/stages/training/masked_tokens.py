"""The objective of an encoder on plain text: fill in masked tokens (BERT, arXiv:1810.04805, section 3.1).

A text is cut into windows, each with the tokens that begin and end a text. Of a window's tokens a share is chosen, anew
each time it is seen: 80 % of these become the mask, 10 % any token, 10 % stay, and all are predicted.

Legend: b windows of a micro-batch, t tokens, k chosen places of all windows, v tokens of the vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from descant.core.seeds import seed_for
from descant.models.folders import ADAPTER
from descant.models.load import check_text_settings, load_masked_model
from descant.models.masked import MaskedSpec
from descant.models.new_rows import token_matrices
from descant.stages.corpora import CORPORA
from descant.stages.training.attach import attach
from descant.stages.training.embedding_schedule import embedding_rates, embeddings_first
from descant.stages.training.export import save_adapter
from descant.stages.training.independent import (
    Dealt,
    Forwarded,
    IndependentRows,
    Record,
    TaskTraining,
    summed,
)
from descant.stages.training.settings import TextTrainSettings

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens, the shares that become the mask and any token."""
MODULE = "model."


@dataclass(frozen=True, kw_only=True)
class MaskedTraining(TaskTraining):
    """The training of an encoder; rows have an ``id``, a ``corpus`` and a ``text``."""

    settings: TextTrainSettings
    masked: MaskedSpec

    @property
    def model_spec(self) -> MaskedSpec:
        """The settings of the encoder."""
        return self.masked

    def objective(self) -> "MaskedTokens":
        """The objective of one worker."""
        return MaskedTokens(self)


@dataclass(frozen=True)
class Window:
    """A piece of a text: ``ids`` with its chosen tokens hidden, ``places`` of these, ``targets`` what stood there."""

    id: str
    ids: list[int]
    places: list[int]
    targets: list[int]


class ChosenScores(torch.nn.Module):
    """A masked language model whose head sees the chosen places alone: the rest would be most of its work."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.get_output_embeddings().register_forward_pre_hook(self._take)

    def forward(
        self, ids_bt: torch.Tensor, mask_bt: torch.Tensor, is_chosen_bt: torch.Tensor
    ) -> torch.Tensor:
        """Logits [k, v], window by window."""
        self._is_chosen_bt = is_chosen_bt
        logits_kv: torch.Tensor = self.model(input_ids=ids_bt, attention_mask=mask_bt).logits
        return logits_kv

    def _take(self, head: torch.nn.Module, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (states[0][self._is_chosen_bt],)


class MaskedTokens(IndependentRows[Window]):
    """Cross entropy of the chosen tokens."""

    outputs: ClassVar[str] = "losses"
    settings: TextTrainSettings

    def __init__(self, training: MaskedTraining) -> None:
        super().__init__(training)
        self.masked = training.masked
        model, self.tokenizer = load_masked_model(
            training.masked.model,
            seed=training.settings.seed,
            precision=training.masked.precision,
            device=training.compute.device,
        )
        check_text_settings(
            model,
            self.tokenizer,
            pooling="mean",
            longest=training.masked.masking.max_tokens,
            fields="masked.masking.max_tokens",
        )
        special = set(self.tokenizer.all_special_ids)
        self.ordinary = np.array([i for i in range(len(self.tokenizer)) if i not in special])
        """Tokens that a chosen one may be replaced by."""
        self.embeddings = list(token_matrices(model).values())
        self.model = attach(training, model, self._examples())
        self.module = ChosenScores(self.model)

    @property
    def most_units(self) -> int:
        """As many windows as fit: a text may be many."""
        return self.training.compute.max_micro_batch

    def micro_batches(self, step: int) -> list[Dealt[Window]]:
        """This worker's windows of a step, other tokens of theirs hidden than in other epochs."""
        return self.dealt(self._windows(self._records_of(step), time=step))

    def units(self, records: Sequence[Record]) -> list[Window]:
        """The windows of texts, always the same tokens hidden."""
        return self._windows(records, time=-1)

    def size(self, unit: Window) -> int:
        """Tokens."""
        return len(unit.ids)

    def counted(self, unit: Window) -> int:
        """Chosen tokens."""
        return len(unit.places)

    def forward(self, engine: Any, units: Sequence[Window]) -> Forwarded:
        """The cross entropy of the chosen tokens, summed by window and over all."""
        loss_b = self._losses(engine, units)
        return Forwarded(
            row_ids=[unit.id for unit in units],
            loss_sum=loss_b.sum(),
            outputs=[loss_b.detach()],
            tokens=sum(map(self.size, units)),
        )

    def rates(self) -> Mapping[torch.nn.Parameter, float]:
        """The embeddings', where they have their own."""
        return embedding_rates(self.embeddings, self.settings)

    def starts(self) -> Mapping[torch.nn.Parameter, int]:
        """All but the embeddings wait where these go first."""
        return embeddings_first(self.embeddings, self.settings, self.module, num_steps=self.num_steps)

    def validate(self, engine: Any) -> Mapping[str, float]:
        """Mean cross entropy in nats of a chosen token, by corpus: ``loss_language``."""
        sums, counts = (dict.fromkeys(CORPORA, 0.0) for _ in range(2))
        for records in self.validation_batches():
            corpora = {r["id"]: r["corpus"] for r in records}
            for part in self.dealt(self.units(records)):
                losses = self._losses(engine, part.units).double().tolist()
                if part.counts:
                    for unit, loss in zip(part.units, losses, strict=True):
                        sums[corpora[unit.id]] += loss
                        counts[corpora[unit.id]] += len(unit.places)
        found = summed([*sums.values(), *counts.values()], engine.device)
        return {
            f"loss_{corpus.replace(' ', '_')}": found[i] / found[i + len(CORPORA)]
            for i, corpus in enumerate(CORPORA)
            if found[i + len(CORPORA)]
        }

    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write all weights, the head's among them."""
        save_adapter(
            self.settings.method,
            self.model,
            {name.removeprefix(MODULE): tensor for name, tensor in state.items()},
            folder / ADAPTER,
            {name.removeprefix(MODULE): digest for name, digest in start.items()},
        )

    def _windows(self, records: Sequence[Record], *, time: int) -> list[Window]:
        tokenised = self.tokenizer([r["text"] for r in records], add_special_tokens=False, verbose=False)
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        longest = self.masked.masking.max_tokens - 2
        found = []
        for record, ids in zip(records, tokenised["input_ids"], strict=True):
            for start in range(0, max(1, len(ids)), longest):
                draw = np.random.default_rng(seed_for(self.settings.seed, "mask", time, record["id"], start))
                found.append(self._hidden(record["id"], [begin, *ids[start : start + longest], end], draw))
        return found

    def _hidden(self, record_id: str, ids: list[int], draw: np.random.Generator) -> Window:
        inner = len(ids) - 2
        number = min(inner, max(1, round(self.masked.masking.mask_share * inner)))
        places = sorted((1 + draw.choice(inner, number, replace=False)).tolist())
        targets, hidden = [ids[place] for place in places], list(ids)
        for place, kind in zip(places, draw.random(number), strict=True):
            if kind < MASKED:
                hidden[place] = self.tokenizer.mask_token_id
            elif kind < MASKED + REPLACED:
                hidden[place] = int(draw.choice(self.ordinary))
        return Window(record_id, hidden, places, targets)

    def _losses(self, engine: Any, units: Sequence[Window]) -> torch.Tensor:
        """float32 [b]: the cross entropy of each window's chosen tokens, summed."""
        longest = max(map(self.size, units))
        ids_bt = torch.full((len(units), longest), self.tokenizer.pad_token_id or 0)
        mask_bt = torch.zeros_like(ids_bt)
        is_chosen_bt = torch.zeros(ids_bt.shape, dtype=torch.bool)
        for b, unit in enumerate(units):
            ids_bt[b, : len(unit.ids)] = torch.tensor(unit.ids)
            mask_bt[b, : len(unit.ids)] = 1
            is_chosen_bt[b, unit.places] = True
        device = engine.device
        logits_kv = engine(ids_bt.to(device), mask_bt.to(device), is_chosen_bt.to(device))
        targets_k = torch.tensor([target for unit in units for target in unit.targets], device=device)
        losses_k = cross_entropy(logits_kv.float(), targets_k, reduction="none")
        window_k = torch.repeat_interleave(torch.tensor([len(unit.places) for unit in units]))
        return torch.zeros(len(units), device=device).index_add(0, window_k.to(device), losses_k)

    def _examples(self) -> Iterator[Mapping[str, torch.Tensor]]:
        """None: full fine-tuning, the only method here, starts from no data."""
        return iter(())
