"""Read running text and keep what is worth learning from: the first step of every corpus."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from descant.artifacts.commit import publish
from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.core.spec import Compute
from descant.data.items import content_id
from descant.data.near_duplicates import BANDS, bands
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters, normalised
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.map_parts import MapCompute, map_light_parts

DOCUMENTS_AT_ONCE = 1000
FILTERED = pa.schema([("id", pa.string()), ("text", pa.string()), ("bands", pa.list_(pa.int64(), BANDS))])
"""A document: ``id`` is a digest of its normalised text, ``bands`` those of ``near_duplicates``."""


class FilterText(Stage):
    """Normalise and filter the documents of each file."""

    name: ClassVar[str] = "filter_text"
    compute_class: ClassVar[type[Compute]] = MapCompute

    source: RunningText
    """The files."""
    filters: TextFilters = TextFilters()
    """What is kept."""

    def check(self, compute: Compute) -> None:
        """Raise when files are missing."""
        self.source.require_files()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``texts-*``, one for each file; raise DataError where no document is left."""
        names = [f"texts-{number:05d}" for number in range(len(self.source.files))]
        sizes = dict.fromkeys(names, 1)
        map_light_parts(context, _FilterWork(context.folder, self), sizes, unit="files")
        parts = [context.draft.published(name) for name in names]
        reasons: Counter[str] = Counter()
        for part in parts:
            reasons.update(part.facts["left_out"])
        kept = sum(part.rows for part in parts)
        if not kept:
            raise DataError(
                "E-TEXT-EMPTY",
                ", ".join(self.source.files),
                f"no document is left ({', '.join(f'{n:,} {reason}' for reason, n in reasons.most_common())})",
                "Nothing was published. Check the language and the limits of the filters.",
            )
        facts = {
            "documents": kept,
            "bytes": sum(part.facts["bytes"] for part in parts),
            "left_out": dict(sorted(reasons.items())),
            "left_out_bytes": sum(part.facts["left_out_bytes"] for part in parts),
        }
        return Outcome(names, facts)


class _FilterWork:
    """One file at a time, in batches: a file of any size needs little memory."""

    def __init__(self, folder: Path, stage: FilterText) -> None:
        self.folder, self.stage = folder, stage

    def __call__(self) -> "_FilterWork":
        return self

    def process(self, name: str) -> int:
        number = int(name.removeprefix("texts-"))
        counted = _Counted()

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, FILTERED, compression="zstd", use_dictionary=False) as writer:
                for rows in self._batches(number, counted):
                    writer.write_table(pa.Table.from_pylist(rows, schema=FILTERED))

        publish(
            self.folder,
            name,
            write,
            rows=lambda: counted.kept,
            suffix=".parquet",
            rejected=counted.damaged,
            facts=counted.facts,
        )
        return 1

    def _batches(self, number: int, counted: "_Counted") -> Iterator[list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        for document in self.stage.source.documents(number):
            if isinstance(document, Rejected):
                counted.damaged.append(document)
                counted.leave_out(document.reason, 0)
                continue
            text = normalised(document.text)
            size = len(text.encode())
            reason = self.stage.filters.reason(text)
            if reason:
                counted.leave_out(reason, size)
                continue
            counted.keep(size)
            rows.append({"id": content_id([text]), "text": text, "bands": bands(text)})
            if len(rows) == DOCUMENTS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows


class _Counted:
    """What became of the documents of one file; ``facts`` are those of its part."""

    def __init__(self) -> None:
        self.kept = 0
        self.damaged: list[Rejected] = []
        self._left_out: dict[str, int] = {}
        self.facts: dict[str, Any] = {"bytes": 0, "left_out": self._left_out, "left_out_bytes": 0}

    def keep(self, size: int) -> None:
        self.kept += 1
        self.facts["bytes"] += size

    def leave_out(self, reason: str, size: int) -> None:
        self._left_out[reason] = self._left_out.get(reason, 0) + 1
        self.facts["left_out_bytes"] += size
