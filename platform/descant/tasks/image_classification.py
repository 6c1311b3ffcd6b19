"""Classification of images: a linear head on a pooled state of an image encoder."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from descant.core.records import Rejected
from descant.data import AnyImageSource
from descant.data.splits import Split
from descant.tasks.base import Task, TaskSource, joined_sources
from descant.tasks.classification import ClassMeasure
from descant.tasks.rows import Family, ImageRow, TaskRow


class ImageClassification(Task):
    """Choose one of the classes of an image."""

    family: ClassVar[Family] = "image"

    kind: Literal["image_classification"] = "image_classification"
    """Classification of images."""
    source: AnyImageSource
    """The labelled images."""
    measures: tuple[ClassMeasure, ...] = Field(("accuracy",), min_length=1)
    """How it is scored; the first decides."""

    def sources(self) -> Mapping[Split, TaskSource]:
        """Every split from the one source."""
        return joined_sources(self.source, None)

    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The images with the numbers of their classes."""
        for item in self.source.items(split):
            yield item if isinstance(item, Rejected) else ImageRow(item.id, item.image, item.label)

    def facts(self) -> Mapping[str, Any]:
        """With the names of the classes."""
        return {"family": self.family, "labels": list(self.source.label_names())}
