"""Prepare a task: its splits as rows, checked, with a validation split of its own, in sizes that fit.

Everything drawn here is drawn by a seeded hash of the row's id. So the rows drawn do not depend on the order of the
file, and a smaller number of them is always part of a larger one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from descant.artifacts.store import Artifact
from descant.artifacts.tables import publish_table, read_table
from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.data import RowCheck
from descant.data.rejects import separated
from descant.data.splits import SPLITS, Split
from descant.stages.base import Outcome, Stage, StageContext
from descant.tasks import AnyTask
from descant.tasks.rows import TaskRow, rows_table

NUM_SHOWN = 20


class PrepareTask(Stage):
    """Bring a task into the store. No inputs."""

    name: ClassVar[str] = "prepare_task"

    task: AnyTask
    """The task; its files enter the fingerprint by their sha256, its name and measures do not."""
    train_rows: int | None = Field(None, ge=1)
    """At most so many rows are trained on, drawn with ``seed``; all of them if left out."""
    validation_rows: int = Field(ge=0)
    """At most so many rows of the validation split are kept; where the data has none they are taken out of training."""
    test_rows: int | None = Field(None, ge=1)
    """At most so many rows are tested on."""
    seed: int
    """Draws the rows."""

    def identity(self) -> Mapping[str, Any]:
        """Without what changes no row."""
        task = {k: v for k, v in self.task.identity().items() if k not in ("name", "measures")}
        return {**super().identity(), "task": task}

    def check(self, compute: Compute) -> None:
        """Raise when files are missing or not of the declared form."""
        self.task.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``train``, ``validation`` and ``test``, those that there are, in the order of the hash."""
        rejected: dict[Split, list[Rejected]] = {}
        facts: dict[str, Any] = {"rejected": {}, "duplicates_dropped": 0}
        rows: dict[Split, list[TaskRow]] = {}
        for split in self.task.splits():
            check = RowCheck(split)
            kept: list[TaskRow]
            kept, rejected[split] = separated(check.unique(self._read(split, asked=split != "train")))
            check.finish()
            rows[split] = sorted(kept, key=lambda row: (self._place(row.id), row.id))
            facts["duplicates_dropped"] += check.duplicates
            facts["rejected"][split] = dict(sorted(check.reasons.items()))
            context.progress(len(rows), len(self.task.splits()), "splits")
        rows = self._sized(rows)
        for split, part in rows.items():
            table = rows_table(self.task.family, part)
            publish_table(context.folder, split, table, rejected=rejected.get(split, []))
        facts |= {f"{split}_rows": len(part) for split, part in rows.items()}
        return Outcome(tuple(rows), {**facts, **self.task.facts(), **_shared(rows), **_labels(rows)})

    def _read(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The rows, each id once: a repeated row is ``duplicate``, another row under the same id ``duplicate_id``."""
        seen: dict[str, TaskRow] = {}
        for row in self.task.rows(split, asked=asked):
            if not isinstance(row, Rejected) and row.id in seen:
                reason = "duplicate" if seen[row.id] == row else "duplicate_id"
                yield Rejected(row.id, f"{split} {row.id}", reason)
                continue
            if not isinstance(row, Rejected):
                seen[row.id] = row
            yield row

    def _place(self, row_id: str) -> int:
        return seed_for(self.seed, "rows", row_id)

    def _sized(self, rows: dict[Split, list[TaskRow]]) -> dict[Split, list[TaskRow]]:
        train, validation = rows.get("train", []), rows.get("validation", [])
        if not validation and self.validation_rows and train:
            validation, train = self._carved(train)
        sized = {
            "train": train[: self.train_rows],
            "validation": validation[: self.validation_rows],
            "test": rows.get("test", [])[: self.test_rows],
        }
        found: dict[Split, list[TaskRow]] = {split: sized[split] for split in SPLITS if sized[split]}
        for split in self.task.splits():
            if split not in found and (split != "validation" or self.validation_rows):
                raise _too_few(split, 0, "at least 1")
        return found

    def _carved(self, train: list[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """The first rows of training that can be asked, rendered so, and the rest."""
        askable = {row.id: row for row in self._read("train", asked=True) if not isinstance(row, Rejected)}
        validation = [askable[row.id] for row in train if row.id in askable][: self.validation_rows]
        chosen = {row.id for row in validation}
        rest = [row for row in train if row.id not in chosen]
        if len(validation) < self.validation_rows or not rest:
            wanted = f"more than {self.validation_rows}, which validation takes out of them"
            raise _too_few("train", len(askable), wanted)
        return validation, rest


def task_rows(data: Artifact, split: Split) -> list[dict[str, Any]]:
    """The rows of one split of a ``prepare_task`` result, by column name."""
    rows: list[dict[str, Any]] = read_table(data.path(split)).to_pylist()
    return rows


def _shared(rows: Mapping[Split, list[TaskRow]]) -> dict[str, Any]:
    """Examples that stand in two splits, by content: how many of the former's rows, and the first of them."""
    keys = {split: {row.key for row in part} for split, part in rows.items()}
    facts: dict[str, Any] = {}
    pairs: tuple[tuple[Split, Split], ...] = (
        ("train", "test"),
        ("train", "validation"),
        ("validation", "test"),
    )
    for one, other in pairs:
        if one in rows and other in rows:
            ids = sorted(row.id for row in rows[one] if row.key in keys[other])
            facts |= {f"{one}_rows_in_{other}": len(ids), f"{one}_rows_in_{other}_first": ids[:NUM_SHOWN]}
    return facts


def _labels(rows: Mapping[Split, list[TaskRow]]) -> dict[str, Any]:
    """How often each class stands in each split; nothing for tasks without classes."""
    counts = {
        split: Counter(str(row.label) for row in part if hasattr(row, "label"))
        for split, part in rows.items()
    }
    found = {
        split: dict(sorted(count.items(), key=lambda item: int(item[0]))) for split, count in counts.items()
    }
    return {"rows_by_label": found} if any(found.values()) else {}


def _too_few(split: str, found: int, wanted: str) -> DataError:
    return DataError(
        "E-TASK-ROWS",
        split,
        f"found {found} usable rows, expected {wanted}",
        "Nothing was trained. Lower validation_rows, or give more data.",
    )
