"""EXAMS (arXiv:2011.03080): questions of school examinations in many languages."""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.choices import choice_question
from descant.data.items import ChoiceQuestion
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows


class Exams(SplitFiles):
    """JSON lines of ``id``, ``question`` (``stem`` and ``choices``, each with ``text`` and ``label``) and
    ``answerKey``, the label of the right one.
    """

    kind: Literal["exams"] = "exams"
    """EXAMS."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``no_choices``, ``empty_text`` and ``unknown_label``.

        The last of these are questions that were withdrawn, with the key "@".

        Labels are of the language's own alphabet, so choices are called A, B, … by their place.
        """
        for row in table_rows(self.path_of(split), "jsonl"):
            yield row if isinstance(row, Rejected) else _item(row)


def _item(row: Row) -> ChoiceQuestion | Rejected:
    row_id, key, question = row.identifier("id"), row.text("answerKey").strip(), row.record("question")
    stem, listed = question.text("stem").strip(), question.records("choices")
    if not stem:
        return row.rejected(row_id, "empty_text")
    labels = [choice.text("label").strip() for choice in listed]
    gold = labels.index(key) if labels.count(key) == 1 else None
    return choice_question(row, row_id, stem, tuple(choice.text("text").strip() for choice in listed), gold)
