"""The objective of continued pre-training: the likelihood of plain text, in sequences that ``pack_texts`` made.

Documents of one sequence do not see each other. Beside the method, the embeddings train: all of them with full
fine-tuning, else the rows of tokens that the base lacks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import torch

from descant.artifacts.tables import read_table
from descant.core.errors import ConfigError
from descant.models.causal import Pair
from descant.models.folders import ADAPTER, read_trained
from descant.models.new_rows import ROWS, MatrixName, new_ids, token_matrices
from descant.stages.corpora import bits_of
from descant.stages.training.embedding_schedule import embedding_rates, embeddings_first
from descant.stages.training.export import save_adapter, save_tensors
from descant.stages.training.independent import Record, summed
from descant.stages.training.next_token import CausalTraining, Document, Documents, NextToken
from descant.stages.training.settings import TextTrainSettings
from descant.stages.training.trainable_rows import train_rows, trained_rows


@dataclass(frozen=True, kw_only=True)
class TextTraining(CausalTraining):
    """The training of a causal language model on plain text."""

    settings: TextTrainSettings
    validation_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the validation text of each corpus."""

    @cached_property
    def new(self) -> range | None:
        """The ids of new tokens of the model to start from."""
        return None if self.start is None else new_ids(read_trained(self.start, "causal"))

    @property
    def packed(self) -> bool:
        """Always: sequences are packed as they come."""
        return True

    def records(self) -> "Sequences":
        """The sequences, as they are asked for."""
        return Sequences(self.rows)

    def objective(self) -> "PlainText":
        """The objective of one worker."""
        return PlainText(self)

    def check(self) -> None:
        """Refuse also embeddings that are to go first where none train."""
        super().check()
        asked = self.settings.embeddings_first or self.settings.embeddings_learning_rate
        if asked and self.start is None and self.settings.method.adapter_only:
            raise ConfigError(
                "E-TRN-ROWS",
                f"method {type(self.settings.method).__name__}",
                "trains no embedding of a base without new tokens",
                "Nothing was started. Leave embeddings_first and embeddings_learning_rate out.",
            )


class Sequences(Sequence[Record]):
    """The rows of a table, made into Python objects one at a time: a list would be ten times the size."""

    def __init__(self, path: Path) -> None:
        self._table = read_table(path)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, number: Any) -> Any:
        return self._table.slice(int(number), 1).to_pylist()[0]


class PlainText(NextToken):
    """Cross entropy of every token of every document after its first."""

    training: TextTraining
    settings: TextTrainSettings

    def __init__(self, training: TextTraining) -> None:
        super().__init__(training)
        self.new, model = training.new, cast("Any", self.model)
        self.embeddings: Mapping[MatrixName, torch.nn.Parameter] = {}
        if not training.settings.method.adapter_only:
            self.embeddings = token_matrices(model)
        elif self.new is not None:
            self.embeddings = train_rows(model.get_base_model(), self.new.start)

    def documents(self, records: Sequence[Record]) -> list[Document]:
        """The pieces of the sequences."""
        return [document for unit in self.units(records) for document in unit]

    def units(self, records: Sequence[Record]) -> list[Documents]:
        """The sequences as they were packed."""
        return [_unit(record) for record in records]

    def rates(self) -> Mapping[torch.nn.Parameter, float]:
        """The embeddings', where they have their own."""
        return embedding_rates(self.embeddings.values(), self.settings)

    def starts(self) -> Mapping[torch.nn.Parameter, int]:
        """All but the embeddings wait where these go first."""
        return embeddings_first(
            self.embeddings.values(), self.settings, self.module, num_steps=self.num_steps
        )

    @property
    def head_parameters(self) -> int:
        """The rows of new tokens."""
        if self.new is None:
            return 0
        return sum(p.numel() // len(p) * len(self.new) for p in self.embeddings.values())

    def validate(self, engine: Any) -> Mapping[str, float]:
        """``bits_per_byte`` of each corpus, by name."""
        totals = dict.fromkeys(self.training.validation_bytes, 0.0)
        for records in self.validation_batches():
            corpora = {r["id"]: r["corpus"] for r in records}
            for part in self.dealt(self.units(records)):
                losses = self.losses(engine, part.units).double().tolist()
                if part.counts:
                    documents = (document for unit in part.units for document in unit)
                    for document, loss in zip(documents, losses, strict=True):
                        totals[corpora[document.id]] += loss
        found = summed(list(totals.values()), engine.device)
        return {
            bits_of(name): nats / math.log(2) / self.training.validation_bytes[name]
            for name, nats in zip(totals, found, strict=True)
        }

    def save(self, state: dict[str, torch.Tensor], start: Mapping[str, str], folder: Path) -> None:
        """Write the adapter, and the rows of new tokens where there are any."""
        method = self.settings.method
        embeddings, rest = trained_rows(self.module, self.embeddings, state)
        trained = rest if method.adapter_only else state
        known = {name: digest for name, digest in start.items() if name in trained}
        save_adapter(method, self.model, trained, folder / ADAPTER, known)
        if self.new is not None:
            first = 0 if method.adapter_only else self.new.start
            rows: dict[str, torch.Tensor] = {
                name: one[first : first + len(self.new)] for name, one in embeddings.items()
            }
            save_tensors(rows, folder / ROWS)


def _unit(record: Record) -> Documents:
    ends = list(accumulate(record["lengths"]))
    starts = [0, *ends[:-1]]
    return tuple(
        Document(record["id"], Pair(record["ids"][a:b], 1)) for a, b in zip(starts, ends, strict=True)
    )
