"""Classification of texts or pairs of texts, as in GLUE (arXiv:1804.07461): a linear head on a pooled state."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from descant.core.records import Rejected
from descant.data import AnyLabelledSource
from descant.data.splits import Split
from descant.tasks.base import Task, TaskSource, joined_sources
from descant.tasks.rows import ClassificationRow, Family, TaskRow

ClassMeasure = Literal["accuracy", "macro_f1", "matthews"]
"""Share of right classes; mean F1 over classes; Matthews correlation (of many classes: its generalisation, R_K)."""


class Classification(Task):
    """Choose one of the classes of a text."""

    family: ClassVar[Family] = "classification"

    kind: Literal["classification"] = "classification"
    """Classification of texts."""
    source: AnyLabelledSource
    """The labelled texts."""
    measures: tuple[ClassMeasure, ...] = Field(("accuracy",), min_length=1)
    """How it is scored; the first decides."""

    def sources(self) -> Mapping[Split, TaskSource]:
        """Every split from the one source."""
        return joined_sources(self.source, None)

    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The texts with the numbers of their classes."""
        for item in self.source.items(split):
            if isinstance(item, Rejected):
                yield item
            else:
                yield ClassificationRow(item.id, item.text, item.pair, item.label)

    def facts(self) -> Mapping[str, Any]:
        """With the names of the classes."""
        return {"family": self.family, "labels": list(self.source.label_names())}
