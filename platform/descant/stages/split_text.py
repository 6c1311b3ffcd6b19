"""Drop what stands twice or nearly twice, and deal the rest out: to train, to validate, to learn a tokenizer on."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact
from descant.core.errors import DataError
from descant.core.seeds import seed_for
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.filter_text import DOCUMENTS_AT_ONCE

TextSplit = Literal["train", "validation", "test", "tokenizer"]
SPLITS: tuple[TextSplit, ...] = ("train", "validation", "test", "tokenizer")
SPLIT = pa.schema([("id", pa.string()), ("text", pa.string()), ("split", pa.string())])
HELD_OUT = "held_out"


class SplitText(Stage):
    """De-duplicate and split. Inputs: ``texts``; ``held_out`` where validation texts come from files of their own.

    Of equal or nearly equal documents the first is kept, those of ``held_out`` before all others, so nothing that is
    trained on stands in validation. About 140 bytes a document are held in memory.
    """

    name: ClassVar[str] = "split_text"

    validation: float = Field(0.02, ge=0, lt=1)
    """Share of the documents for validation; without ``held_out`` alone."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share of the documents for test; of those of ``held_out`` where that is given."""
    tokenizer: float = Field(0.1, ge=0, lt=1)
    """Share of the documents that new pieces are learned on and no model is trained on."""
    near_duplicates: bool = True
    """Whether nearly equal documents are dropped too."""
    seed: int
    """Deals the documents out, each by its id alone."""

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.validation + self.test + self.tokenizer >= 1:
            raise ValueError("validation, test and tokenizer leave nothing to train on")
        return self

    def run(self, context: StageContext) -> Outcome:
        """Publish ``texts-*``, each document with its split; raise DataError where a split that is needed is empty."""
        held_out = context.inputs.get(HELD_OUT)
        sources = [context.inputs[name] for name in (HELD_OUT, "texts") if name in context.inputs]
        parts = [(source, name) for source in sources for name in source.names("texts-")]
        kept_by_part, dropped = self._kept(parts)
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        names = []
        for number, ((source, name), kept) in enumerate(zip(parts, kept_by_part, strict=True)):
            deal = self._deal if held_out is None else self._deal_rest
            if source is held_out:
                deal = self._deal_held_out
            target = f"texts-{number:05d}"
            _publish(context.folder, target, source.path(name), kept, deal)
            part = context.draft.published(target)
            counts.update(part.facts["documents"])
            sizes.update(part.facts["bytes"])
            names.append(target)
            context.progress(number + 1, len(parts), "files")
        empty = [split for split in ("train", *self._asked(context)) if not counts[split]]
        if empty:
            raise DataError(
                "E-TEXT-SPLIT",
                "split_text",
                f"no document for {' and '.join(empty)}, of {sum(counts.values()):,}",
                "Nothing was published. Use more text or a larger share.",
            )
        return Outcome(names, {"documents": dict(counts), "bytes": dict(sizes), "dropped": dropped})

    def _asked(self, context: StageContext) -> Iterator[TextSplit]:
        if self.validation or HELD_OUT in context.inputs:
            yield "validation"
        if self.test:
            yield "test"
        if self.tokenizer:
            yield "tokenizer"

    def _kept(self, parts: Sequence[tuple[Artifact, str]]) -> tuple[list[np.ndarray], dict[str, int]]:
        """bool [documents] for each part, and how many were dropped for which reason."""
        tables = [pq.read_table(source.path(name), columns=["id", "bands"]) for source, name in parts]
        table = pa.concat_tables(tables)
        if not len(table):
            return [np.zeros(0, bool) for _ in parts], {"duplicate": 0, "near_duplicate": 0}
        ids = np.array([int(one, 16) for one in table.column("id").to_pylist()], dtype=np.uint64)
        is_first = _first_of_each(ids)
        is_near = np.zeros(len(ids), bool)
        if self.near_duplicates:
            flat = table.column("bands").combine_chunks().flatten().to_numpy()
            for band in flat.reshape(len(ids), -1).T:
                is_near |= is_first & ~_first_among(band, is_first)
        kept = is_first & ~is_near
        dropped = {"duplicate": int((~is_first).sum()), "near_duplicate": int(is_near.sum())}
        return np.split(kept, np.cumsum([len(one) for one in tables])[:-1]), dropped

    def _deal(self, document: str) -> TextSplit:
        return self._dealt(
            document, {"validation": self.validation, "test": self.test, "tokenizer": self.tokenizer}
        )

    def _deal_rest(self, document: str) -> TextSplit:
        """Where validation and test have files of their own."""
        return self._dealt(document, {"tokenizer": self.tokenizer})

    def _deal_held_out(self, document: str) -> TextSplit:
        return self._dealt(document, {"test": self.test}, rest="validation")

    def _dealt(
        self, document: str, shares: Mapping[TextSplit, float], *, rest: TextSplit = "train"
    ) -> TextSplit:
        place = seed_for(self.seed, "text split", document) / 2**63
        for split, share in shares.items():
            if place < share:
                return split
            place -= share
        return rest


def _publish(
    folder: Path, target: str, source: Path, kept: np.ndarray, deal: Callable[[str], TextSplit]
) -> None:
    """The documents of ``source`` that are kept, each with its split."""
    documents: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    sizes: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, SPLIT, compression="zstd", use_dictionary=False) as writer:
            start = 0
            for batch in pq.ParquetFile(source).iter_batches(DOCUMENTS_AT_ONCE, columns=["id", "text"]):
                chosen = batch.filter(pa.array(kept[start : start + len(batch)]))
                start += len(batch)
                splits = [deal(one) for one in chosen.column("id").to_pylist()]
                documents.update(splits)
                for split, text in zip(splits, chosen.column("text").to_pylist(), strict=True):
                    sizes[split] += len(text.encode())
                columns = [*chosen.columns, pa.array(splits, pa.string())]
                writer.write_table(pa.Table.from_arrays(columns, schema=SPLIT))

    publish(
        folder,
        target,
        write,
        rows=documents.total,
        suffix=".parquet",
        facts={"documents": documents, "bytes": sizes},
    )


def texts_of(artifact: Artifact, splits: Iterable[TextSplit]) -> Iterator[str]:
    """The texts of these splits, in their order, streamed."""
    wanted = set(splits)
    for name in artifact.names("texts-"):
        for batch in pq.ParquetFile(artifact.path(name)).iter_batches(DOCUMENTS_AT_ONCE):
            for text, split in zip(
                batch.column("text").to_pylist(), batch.column("split").to_pylist(), strict=True
            ):
                if split in wanted:
                    yield text


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    """bool: whether a key stands for the first time."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _first_among(keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """bool: as ``_first_of_each`` over the places where ``counts``; elsewhere false."""
    first = np.zeros(len(keys), bool)
    places = np.flatnonzero(counts)
    first[places[np.unique(keys[places], return_index=True)[1]]] = True
    return first
