"""Drop what stands twice or nearly twice, and deal the rest out: to train, to validate, to learn a tokenizer on."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    max_held_out_bytes: int = Field(32_000, ge=100)
    """Documents for validation and test are cut behind a word to at most so many bytes, so that none outweighs the
    rest."""
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
            _publish(context.folder, target, source.path(name), kept, deal, self.max_held_out_bytes)
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
    folder: Path, target: str, source: Path, kept: np.ndarray, deal: Callable[[str], TextSplit], longest: int
) -> None:
    """The documents of ``source`` that are kept, each with its split; held-out ones of at most ``longest`` bytes."""
    documents: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    sizes: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, SPLIT, compression="zstd", use_dictionary=False) as writer:
            start = 0
            for batch in pq.ParquetFile(source).iter_batches(DOCUMENTS_AT_ONCE, columns=["id", "text"]):
                chosen = batch.filter(pa.array(kept[start : start + len(batch)]))
                start += len(batch)
                ids, texts = chosen.to_pydict().values()
                splits = [deal(one) for one in ids]
                texts = [
                    cut_to(text, longest) if split in ("validation", "test") else text
                    for text, split in zip(texts, splits, strict=True)
                ]
                documents.update(splits)
                for split, text in zip(splits, texts, strict=True):
                    sizes[split] += len(text.encode())
                writer.write_table(pa.Table.from_arrays([ids, texts, splits], schema=SPLIT))

    publish(
        folder,
        target,
        write,
        rows=documents.total,
        suffix=".parquet",
        facts={"documents": documents, "bytes": sizes},
    )


def cut_to(text: str, num_bytes: int) -> str:
    """The words that fit into ``num_bytes`` of UTF-8; the characters that fit where words would leave half of that."""
    encoded = text.encode()
    if len(encoded) <= num_bytes:
        return text
    fitting = encoded[:num_bytes].decode(errors="ignore")
    if text[len(fitting)].isspace():
        return fitting.rstrip()
    end = max(fitting.rfind(" "), fitting.rfind("\n"))
    return fitting[:end].rstrip() if end > len(fitting) // 2 else fitting


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


def texts_up_to(artifact: Artifact, split: TextSplit, *, max_bytes: int, seed: int) -> list[str]:
    """The documents of a split, in an order of the seed, until they hold ``max_bytes`` in UTF-8.

    Beside these, a part at a time is in memory.
    """
    paths = [artifact.path(name) for name in artifact.names("texts-")]
    found: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(paths):
        table = _split_of(path, split)
        sizes = pc.binary_length(table.column("text")).to_pylist()
        orders = [seed_for(seed, "score text", one) for one in table.column("id").to_pylist()]
        found += ((order, number, row, sizes[row]) for row, order in enumerate(orders))
    found.sort()
    before = accumulate((size for *_, size in found), initial=0)
    chosen = [place for place, held in zip(found, before, strict=False) if held < max_bytes]
    texts: dict[tuple[int, int], str] = {}
    for number, path in enumerate(paths):
        rows = [row for _, part, row, _ in chosen if part == number]
        if rows:
            kept = _split_of(path, split).column("text").take(rows).to_pylist()
            texts |= {(number, row): text for row, text in zip(rows, kept, strict=True)}
    return [texts[number, row] for _, number, row, _ in chosen]


def _split_of(path: Path, split: TextSplit) -> pa.Table:
    return pq.read_table(path, filters=[("split", "=", split)], columns=["id", "text"])


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
