"""Multiple choice: the likeliest of several continuations, or the choice that a generated text names.

By likelihood the prompt is the question alone, the continuations are the texts of the choices, and training learns the
text of the right one. By generation the prompt lists the choices in the published form and training learns the
published answer ("the correct answer is answer3"). So what is trained is always what is scored. Choices that are whole
sentences, without a question, stand by themselves: their prompt is empty.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from descant.core.records import Rejected
from descant.data import AnyChoiceSource
from descant.data.answers import AnswerForm
from descant.data.items import ChoiceQuestion
from descant.data.splits import Split
from descant.tasks.base import Task, TaskSource, joined_sources
from descant.tasks.prompts import PLAIN, Prompted
from descant.tasks.rows import Family, TaskRow, TextRow
from descant.tasks.shots import Shots

ChoiceMeasure = Literal["accuracy", "accuracy_per_byte", "bits_per_byte"]
"""Share of right choices; the same by likelihood divided by the bytes of the choice; of the right response, the
negative log-likelihood in bits per byte."""


class MultipleChoice(Task):
    """Choose one of the answers to a question."""

    family: ClassVar[Family] = "text"

    kind: Literal["multiple_choice"] = "multiple_choice"
    """Multiple choice."""
    source: AnyChoiceSource
    """The questions."""
    train_source: AnyChoiceSource | None = None
    """What is trained on instead of the training split of ``source``, such as a mixture of sets."""
    by: Literal["likelihood", "generation"]
    """Whether the likeliest choice counts, or the one that a generated answer names."""
    prompt: Prompted = PLAIN
    """What stands around a question: plain, continuation, metamath, llm_adapters, or templates."""
    shots: Shots | None = None
    """Solved examples before each question that is asked; none if left out."""
    measures: tuple[ChoiceMeasure, ...] = Field(("accuracy",), min_length=1)
    """How it is scored; the first decides."""

    @model_validator(mode="after")
    def _measured_by_likelihood(self) -> Self:
        if self.by == "generation" and "accuracy_per_byte" in self.measures:
            raise ValueError("accuracy_per_byte compares likelihoods: set by: likelihood")
        return self

    def sources(self) -> Mapping[Split, TaskSource]:
        """Training from ``train_source`` where that is given."""
        return joined_sources(self.source, self.train_source)

    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The questions with their choices; the answer is the name of the right one (``answer3``, ``B``)."""
        rows = self._rows(split, asked)
        if self.shots is None or not asked:
            return rows
        return self.shots.before(rows, self._rows(self.shots.split, asked))

    def identity(self) -> Mapping[str, Any]:
        """Without shots where there are none."""
        return {k: v for k, v in super().identity().items() if k != "shots" or v is not None}

    def facts(self) -> Mapping[str, Any]:
        """With the way of scoring and the form in which answers are looked for."""
        form: AnswerForm = "named" if self.source.kind == "commonsense" else "letter"
        return {"family": self.family, "scored_by": self.by, "answer_form": form}

    def _rows(self, split: Split, asked: bool) -> Iterator[TextRow | Rejected]:
        source = self.train_source if split == "train" and self.train_source is not None else self.source
        for item in source.items(split):
            yield item if isinstance(item, Rejected) else self._row(item, asked)

    def _row(self, item: ChoiceQuestion, asked: bool) -> TextRow:
        if not item.question and self.by == "likelihood":
            return _sentences(item)
        question = item.question if self.by == "likelihood" else item.instruction
        texts = item.choices if self.by == "likelihood" else item.responses
        has_all = len(texts) == len(item.choices)
        choices = tuple(self.prompt.response(text) for text in texts)
        return TextRow(
            id=item.id,
            prompt=(self.prompt.asked_prompt if asked else self.prompt.train_prompt)(question),
            response=choices[item.gold if has_all else 0],
            answer=item.names[item.gold],
            choices=choices if has_all else (),
            gold=item.gold if has_all else -1,
            asked=item.question,
        )


def _sentences(item: ChoiceQuestion) -> TextRow:
    gold = item.choices[item.gold]
    asked = "\n".join(sorted(item.choices))
    return TextRow(item.id, "", gold, item.names[item.gold], item.choices, item.gold, asked)
