"""XCOPA (arXiv:2005.00333): the likelier of two causes or effects, as ends of a sentence that the premise begins.

The published code takes the premise's last character off; where there is no full stop, as in Tamil, that is part of a
word.
"""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.choices import choice_question
from descant.data.items import ChoiceQuestion, content_id
from descant.data.labelled_text import label_of, number_of
from descant.data.languages import WORDS, LanguageCode, continued, without_end
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows


class Xcopa(SplitFiles):
    """JSON lines of ``premise``, ``choice1``, ``choice2``, ``question`` (cause or effect) and ``label``."""

    kind: Literal["xcopa"] = "xcopa"
    """XCOPA."""
    language: LanguageCode
    """The language of the files; it chooses the connectors."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``unknown_question``, ``unknown_label``, ``no_choices`` and
        ``empty_text``.
        """
        for row in table_rows(self.path_of(split), "jsonl"):
            yield row if isinstance(row, Rejected) else self._item(row)

    def _item(self, row: Row) -> ChoiceQuestion | Rejected:
        premise, asked = without_end(row.text("premise")), row.text("question")
        choices = tuple(
            continued(row.text(column).strip(), self.language) for column in ("choice1", "choice2")
        )
        label = label_of(row, "label")
        row_id = content_id([premise, asked, *choices, str(label)])
        if not premise:
            return row.rejected(row_id, "empty_text")
        words = WORDS[self.language]
        connector = {"cause": words.because, "effect": words.so}.get(asked)
        if connector is None:
            return row.rejected(row_id, "unknown_question")
        gold = number_of(label, {"0": 0, "1": 1})
        return choice_question(row, row_id, f"{premise} {connector}", choices, gold)
