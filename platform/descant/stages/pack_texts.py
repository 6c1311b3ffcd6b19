"""Choose what a model is trained on further, by bytes or tokens, and put it into sequences of one length.

Documents are whole and taken in an order of the seed, so equal bytes mean equal text whatever the tokenizer. A long
document is cut into pieces, each of which begins with the last token of the one before, so every token is predicted
once; pieces of several documents share a sequence, where they do not see each other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.core.errors import DataError
from descant.core.seeds import seed_for
from descant.core.spec import Spec
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.corpora import BASE_LANGUAGE, CORPORA, LANGUAGE

TRAIN, VALIDATION = "train", "validation"
SEQUENCES = pa.schema(
    [
        ("id", pa.string()),
        ("corpus", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("lengths", pa.list_(pa.int32())),
    ]
)
"""A sequence: the ids of its pieces one after another, and their lengths. All pieces are of one corpus."""


class TextBudget(Spec):
    """How much is trained on, in bytes or in tokens; whole documents, so up to half of one more or less."""

    bytes: int | None = Field(None, ge=1)
    """Bytes of text in UTF-8: the fair measure between tokenizers."""
    tokens: int | None = Field(None, ge=1)
    """Tokens that are predicted, ends of documents among them."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.bytes is None) == (self.tokens is None):
            raise ValueError("give bytes or tokens")
        return self

    @property
    def unit(self) -> str:
        """``bytes`` or ``tokens``."""
        return "tokens" if self.bytes is None else "bytes"

    @property
    def amount(self) -> int:
        """How many of the unit."""
        return self.bytes or self.tokens or 0


class PackTexts(Stage):
    """Choose and pack. Inputs, tokenised: ``language``, and ``base language`` for replay and validation."""

    name: ClassVar[str] = "pack_texts"

    max_tokens: int = Field(ge=8)
    """Length of a sequence."""
    budget: TextBudget
    """How much is trained on."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of the budget that is text of the base's language."""
    validation_bytes: int = Field(ge=1)
    """About how much of each corpus' validation split is scored while training."""
    seed: int
    """Orders the documents."""

    def run(self, context: StageContext) -> Outcome:
        """Publish ``train`` and ``validation``. Facts: documents, bytes and tokens of each corpus in each split, and
        how full the sequences are. Raises DataError where a corpus is smaller than what is asked of it.
        """
        corpora: dict[str, _Corpus] = {name: _Corpus(name, context.inputs[name]) for name in CORPORA}
        shares: dict[str, float] = {LANGUAGE: 1 - self.replay, BASE_LANGUAGE: self.replay}
        chosen: dict[str, dict[str, np.ndarray]] = {TRAIN: {}, VALIDATION: {}}
        for name, corpus in corpora.items():
            wanted = round(self.budget.amount * shares[name])
            if wanted:
                chosen[TRAIN][name] = self._chosen(corpus, TRAIN, self.budget.unit, wanted)
            chosen[VALIDATION][name] = self._chosen(corpus, VALIDATION, "bytes", self.validation_bytes)
        facts: dict[str, Any] = {}
        for split, documents in chosen.items():
            self._publish(context, split, [(corpora[name], found) for name, found in documents.items()])
            facts[split] = {name: corpora[name].facts(found) for name, found in documents.items()}
        part = context.draft.published(TRAIN)
        facts |= {
            "sequences": part.rows,
            "filled": round(part.facts["places"] / part.rows / self.max_tokens, 4),
        }
        return Outcome([TRAIN, VALIDATION], facts)

    def _chosen(self, corpus: "_Corpus", split: str, unit: str, wanted: int) -> np.ndarray:
        """The documents that come nearest to ``wanted``, first by the seed: int64 [documents].

        Of validation, all of them where there are not enough.
        """
        places = corpus.places(split)
        order = [seed_for(self.seed, "budget", one) for one in corpus.columns["id"][places]]
        places = places[np.argsort(np.array(order, dtype=np.int64), kind="stable")]
        reached = corpus.columns[unit][places].cumsum()
        total = int(reached[-1]) if len(reached) else 0
        if not total or (total < wanted and split == TRAIN):
            raise DataError(
                "E-TEXT-BUDGET",
                f"{corpus.name}, {split}",
                f"holds {total:,} {unit}, {wanted:,} are asked for",
                "Nothing was published. Lower the budget, add text, or train several epochs.",
            )
        last = min(int(np.searchsorted(reached, wanted)), len(reached) - 1)
        before = int(reached[last - 1]) if last else 0
        return places[: last if last and wanted - before < reached[last] - wanted else last + 1]

    def _publish(
        self, context: StageContext, split: str, documents: Sequence[tuple["_Corpus", np.ndarray]]
    ) -> None:
        """The sequences of these documents, written as they are made."""
        count: Counter[str] = Counter()

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, SEQUENCES, compression="zstd") as writer:
                for corpus, chosen in documents:
                    for found in corpus.pieces(chosen, self.max_tokens):
                        rows = _sequences(found, self.max_tokens, corpus.name, first=count["rows"])
                        count["rows"] += len(rows)
                        count["places"] += sum(map(len, found))
                        writer.write_table(pa.Table.from_pylist(rows, schema=SEQUENCES))

        publish(context.folder, split, write, rows=lambda: count["rows"], suffix=".parquet", facts=count)


class _Corpus:
    """A tokenised corpus, of which ids are read as they are needed."""

    def __init__(self, name: str, artifact: Artifact) -> None:
        self.name = name
        self._paths = [artifact.path(part) for part in artifact.names("tokens-")]
        names = ["id", "split", "bytes", "tokens"]
        tables = [pq.read_table(path, columns=names) for path in self._paths]
        self._sizes = [len(table) for table in tables]
        whole = pa.concat_tables(tables)
        self.columns = {name: whole.column(name).to_numpy(zero_copy_only=False) for name in names}
        """``id``, ``split``, ``bytes`` and ``tokens`` of each document."""

    def places(self, split: str) -> np.ndarray:
        """The documents of ``split``: int64 [documents]."""
        return np.flatnonzero(self.columns["split"] == split)

    def facts(self, chosen: np.ndarray) -> dict[str, int]:
        """How many documents, bytes and tokens."""
        sums = {one: int(self.columns[one][chosen].astype(np.int64).sum()) for one in ("bytes", "tokens")}
        return {"documents": len(chosen), **sums}

    def pieces(self, chosen: np.ndarray, max_tokens: int) -> Iterator[list[Sequence[int]]]:
        """The chosen documents in pieces, those of each part together."""
        is_chosen = np.zeros(sum(self._sizes), bool)
        is_chosen[chosen] = True
        for path, mask in zip(self._paths, np.split(is_chosen, np.cumsum(self._sizes)[:-1]), strict=True):
            if mask.any():
                ids = pq.read_table(path, columns=["ids"]).column("ids").filter(pa.array(mask))
                yield [piece for one in ids.to_pylist() for piece in pieces(one, max_tokens)]


def _sequences(
    found: Sequence[Sequence[int]], max_tokens: int, corpus: str, *, first: int
) -> list[dict[str, Any]]:
    from descant.stages.training.packing import pack

    packed = pack(found, [len(piece) for piece in found], max_tokens)
    return [
        {
            "id": f"{first + number:08d}",
            "corpus": corpus,
            "ids": [one for piece in together for one in piece],
            "lengths": [len(piece) for piece in together],
        }
        for number, together in enumerate(packed)
    ]


def pieces(ids: Sequence[int], max_tokens: int) -> list[Sequence[int]]:
    """A document in pieces of at most ``max_tokens``, each beginning with the last token of the one before."""
    return [ids[start : start + max_tokens] for start in range(0, len(ids) - 1, max_tokens - 1)]
