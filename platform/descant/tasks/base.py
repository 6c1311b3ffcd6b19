"""The contract of a task: rows to learn from and to be scored on, and the measures that score them."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from descant.core.records import Rejected
from descant.core.spec import Spec
from descant.data.splits import SPLITS, Split, no_split
from descant.tasks.rows import Family, TaskRow

LOWER_IS_BETTER = frozenset({"bits_per_byte"})
"""Measures of tasks that fall as models get better; all others lie within [-1, 1] and rise."""

TaskName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A short name, shown in reports."""


class TaskSource(Protocol):
    """What every source of a task offers."""

    def splits(self) -> tuple[Split, ...]:
        """The splits it has."""

    def splits_here(self) -> tuple[Split, ...]:
        """Those that can be read without a download."""

    def require_files(self) -> None:
        """Raise where files are missing."""


class Task(Spec):
    """A task. Subclasses add ``kind``, ``source``, ``train_source`` and ``measures``; the first measure decides."""

    family: ClassVar[Family]
    """What its rows look like."""

    name: TaskName
    """A short name, shown in reports."""

    @abstractmethod
    def sources(self) -> Mapping[Split, TaskSource]:
        """Where the rows of each split come from."""

    @abstractmethod
    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The rows of ``split`` in file order, and those that cannot be used.

        ``asked`` renders prompts as validation and test put them, otherwise as training does. Raises ConfigError for
        a split that there is not, DataError for data that is not what its layout promises.
        """

    def splits(self) -> tuple[Split, ...]:
        """The splits there are, training first."""
        return tuple(split for split in SPLITS if split in self.sources())

    def facts(self) -> Mapping[str, Any]:
        """What a reader of the prepared rows has to know about them."""
        return {"family": self.family}

    def check(self) -> None:
        """Read the first row of every split that is on this machine. Raises as ``rows`` does."""
        for split, source in self.sources().items():
            source.require_files()
            if split in source.splits_here():
                next(self.rows(split, asked=split != "train"), None)


def joined_sources(source: TaskSource, train_source: TaskSource | None) -> dict[Split, TaskSource]:
    """Where each split comes from: ``source``, but training from ``train_source`` where that is given."""
    found: dict[Split, TaskSource] = {split: source for split in source.splits()}
    if train_source is not None:
        if "train" not in train_source.splits():
            raise no_split("train", train_source.splits())
        found["train"] = train_source
    return found
