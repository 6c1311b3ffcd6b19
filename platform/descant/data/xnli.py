"""XNLI (arXiv:1809.05053) as whole sentences: "premise, right? Yes, hypothesis", of which the likeliest is chosen."""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.choices import choice_question
from descant.data.items import ChoiceQuestion, content_id
from descant.data.labelled_text import label_of, number_of
from descant.data.languages import WORDS, LanguageCode
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows

_LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}


class Xnli(SplitFiles):
    """Premises, hypotheses and whether the one follows from the other. There is no question: each choice is a sentence.

    The published files hold all languages, told apart by a column ``language``; rows of others are passed over.
    """

    kind: Literal["xnli"] = "xnli"
    """XNLI."""
    format: Literal["jsonl", "tsv"] = "tsv"
    """How the files are written."""
    language: LanguageCode
    """The language that is read; it chooses the words between the sentences."""
    premise: str = "sentence1"
    """Column of the premise."""
    hypothesis: str = "sentence2"
    """Column of the hypothesis."""
    label: str = "gold_label"
    """Column of entailment, neutral or contradiction, or of their numbers 0, 1, 2."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``empty_text`` and ``unknown_label``."""
        for row in table_rows(self.path_of(split), self.format):
            if isinstance(row, Rejected):
                yield row
            elif row.optional_text("language") in ("", self.language):
                yield self._item(row)

    def _item(self, row: Row) -> ChoiceQuestion | Rejected:
        premise, hypothesis = row.text(self.premise).strip(), row.text(self.hypothesis).strip()
        label = label_of(row, self.label)
        row_id = content_id([premise, hypothesis, str(label)])
        if not premise or not hypothesis:
            return row.rejected(row_id, "empty_text")
        words = WORDS[self.language]
        said = (words.yes, words.also, words.no)
        choices = tuple(f"{premise}, {words.right}? {word}, {hypothesis}" for word in said)
        return choice_question(row, row_id, "", choices, number_of(label, _LABELS))
