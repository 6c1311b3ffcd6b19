"""Open answers: a text is generated and its final answer compared with the gold one, as in GSM8K and MATH."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from descant.core.records import Rejected
from descant.data import AnyInstructionSource
from descant.data.answers import canonical_answer
from descant.data.items import Instruction
from descant.data.splits import Split
from descant.tasks.base import Task, TaskSource, joined_sources
from descant.tasks.prompts import PLAIN, Prompted
from descant.tasks.rows import Family, TaskRow, TextRow

OpenMeasure = Literal["exact_match", "bits_per_byte"]
"""Share of final answers that are the gold one; of the right response, the negative log-likelihood in bits per byte."""


class OpenAnswer(Task):
    """Answer a question in one's own words."""

    family: ClassVar[Family] = "text"

    kind: Literal["open_answer"] = "open_answer"
    """Open answers."""
    source: AnyInstructionSource
    """The questions with their responses."""
    train_source: AnyInstructionSource | None = None
    """What is trained on instead of the training split of ``source``, such as MetaMathQA for GSM8K."""
    answer: Literal["number", "latex", "letter", "text"]
    """What a final answer is."""
    prompt: Prompted = PLAIN
    """What stands around a question: plain, continuation, metamath, llm_adapters, or templates."""
    measures: tuple[OpenMeasure, ...] = Field(("exact_match",), min_length=1)
    """How it is scored; the first decides."""

    def sources(self) -> Mapping[Split, TaskSource]:
        """Training from ``train_source`` where that is given."""
        return joined_sources(self.source, self.train_source)

    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The questions with their canonical answers.

        A response without a final answer may be learned from (its answer is empty), but not asked: ``no_answer``.
        """
        source = self.train_source if split == "train" and self.train_source is not None else self.source
        for item in source.items(split):
            yield item if isinstance(item, Rejected) else self._row(item, split, asked)

    def facts(self) -> Mapping[str, Any]:
        """With the form in which answers are looked for."""
        return {"family": self.family, "scored_by": "generation", "answer_form": self.answer}

    def _row(self, item: Instruction, split: Split, asked: bool) -> TextRow | Rejected:
        gold = item.response if item.answer is None else item.answer
        answer = canonical_answer(self.answer, gold)
        if answer is None and asked:
            return Rejected(item.id, f"{split} {item.id}", "no_answer")
        return TextRow(
            id=item.id,
            prompt=(self.prompt.asked_prompt if asked else self.prompt.train_prompt)(
                item.instruction, item.input
            ),
            response=self.prompt.response(item.response),
            answer=answer or "",
            choices=(),
            gold=-1,
            asked=f"{item.instruction}\n{item.input}",
        )
