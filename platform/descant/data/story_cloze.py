"""XStoryCloze (arXiv:2112.10668): the right one of two endings of a story of four sentences."""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.choices import choice_question
from descant.data.items import ChoiceQuestion, content_id
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows

_STORY = tuple(f"InputSentence{number}" for number in range(1, 5))
_ENDINGS = ("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2")


class StoryCloze(SplitFiles):
    """Tab-separated ``InputSentence1`` to ``4``, ``RandomFifthSentenceQuiz1`` and ``2``, and ``AnswerRightEnding``
    (1 or 2).
    """

    kind: Literal["story_cloze"] = "story_cloze"
    """XStoryCloze."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``empty_text``, ``no_choices`` and ``unknown_label``."""
        for row in table_rows(self.path_of(split), "tsv"):
            yield row if isinstance(row, Rejected) else _item(row)


def _item(row: Row) -> ChoiceQuestion | Rejected:
    sentences = [row.text(column).strip() for column in _STORY]
    choices = tuple(row.text(column).strip() for column in _ENDINGS)
    right = row.text("AnswerRightEnding").strip()
    row_id = content_id([*sentences, *choices, right])
    if not all(sentences):
        return row.rejected(row_id, "empty_text")
    return choice_question(row, row_id, " ".join(sentences), choices, {"1": 0, "2": 1}.get(right))
