"""Tasks to adapt a model to: the table of them."""

from typing import Annotated

from pydantic import Field

from descant.tasks.base import LOWER_IS_BETTER, Task
from descant.tasks.classification import Classification
from descant.tasks.image_classification import ImageClassification
from descant.tasks.multiple_choice import MultipleChoice
from descant.tasks.open_answer import OpenAnswer
from descant.tasks.translation import Translation

TASKS = (Classification, ImageClassification, MultipleChoice, OpenAnswer, Translation)
"""Every kind of task."""

AnyTask = Annotated[
    Classification | ImageClassification | MultipleChoice | OpenAnswer | Translation,
    Field(discriminator="kind"),
]
"""Any task, told apart by ``kind``."""

__all__ = [
    "LOWER_IS_BETTER",
    "TASKS",
    "AnyTask",
    "Classification",
    "ImageClassification",
    "MultipleChoice",
    "OpenAnswer",
    "Task",
    "Translation",
]
