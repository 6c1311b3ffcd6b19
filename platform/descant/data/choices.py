"""Questions with a list of choices in named columns, as HellaSwag (arXiv:1905.07830) is published."""

import string
from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.items import ChoiceQuestion, content_id
from descant.data.labelled_text import label_of, number_of
from descant.data.math_questions import lettered
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows

LETTERS = string.ascii_uppercase
"""What choices are called in their order."""


class Choices(SplitFiles):
    """A question or an unfinished text, its possible answers or continuations, and the number of the right one."""

    kind: Literal["choices"] = "choices"
    """Questions with a list of choices."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """How the files are written."""
    question: str = "question"
    """Column of what is asked."""
    choices: str = "choices"
    """Column of the choices, a list of texts."""
    label: str = "label"
    """Column of the right choice, counted from 0, or its letter."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``no_choices``, ``unknown_label`` and ``empty_text``."""
        columns = [self.question, self.choices, self.label]
        for row in table_rows(self.path_of(split), self.format, columns):
            yield row if isinstance(row, Rejected) else self._item(row)

    def _item(self, row: Row) -> ChoiceQuestion | Rejected:
        question, label = row.text(self.question).strip(), label_of(row, self.label)
        choices = tuple(choice.strip() for choice in row.texts(self.choices))
        row_id = content_id([question, *choices, str(label)])
        if not question:
            return row.rejected(row_id, "empty_text")
        gold = number_of(label, {name: number for number, name in enumerate(LETTERS[: len(choices)])})
        return choice_question(row, row_id, question, choices, gold)


def choice_question(
    row: Row, row_id: str, question: str, choices: tuple[str, ...], gold: int | None
) -> ChoiceQuestion | Rejected:
    """A question whose choices are called by letters; without ``question`` each choice stands by itself.

    Left out are ``no_choices`` (fewer than two, more than the alphabet has, or an empty one) and ``unknown_label``: no
    gold.
    """
    names = tuple(LETTERS[: len(choices)])
    if not 2 <= len(choices) <= len(LETTERS) or not all(choices):
        return row.rejected(row_id, "no_choices")
    if gold is None:
        return row.rejected(row_id, "unknown_label")
    asked = lettered(question, names, choices)
    responses = tuple(f"The answer is ({name})." for name in names)
    return ChoiceQuestion(row_id, question, asked, choices, names, gold, responses)
