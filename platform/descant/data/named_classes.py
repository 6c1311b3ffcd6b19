"""Labelled texts as questions whose choices are the names of the classes.

So a language model tells topics, as in SIB-200 (arXiv:2309.07445), or sentiments.
"""

from collections.abc import Iterator
from typing import Literal

from descant.core.errors import ConfigError
from descant.core.records import Rejected
from descant.data.choices import LETTERS
from descant.data.items import ChoiceQuestion, LabelledText
from descant.data.labelled_text import LabelledFiles
from descant.data.math_questions import lettered
from descant.data.splits import Split


class NamedClasses(LabelledFiles):
    """Labelled texts, for a language model to choose the name of the class."""

    kind: Literal["named_classes"] = "named_classes"
    """Labelled texts whose classes have names."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows of ``split`` in file order; those left out are those of ``labelled``.

        Raises ConfigError for more classes than there are letters to call them by.
        """
        names = self.label_names()
        if len(names) > len(LETTERS):
            raise ConfigError(
                "E-SRC-LABELS",
                f"column '{self.label}'",
                f"found {len(names)} classes, expected at most {len(LETTERS)}",
                "Nothing was started. Use the task classification.",
            )
        for item in self.labelled(split):
            yield item if isinstance(item, Rejected) else _question(item, names)


def _question(item: LabelledText, names: tuple[str, ...]) -> ChoiceQuestion:
    question = item.text.strip() if item.pair is None else f"{item.text.strip()}\n{item.pair.strip()}"
    letters = tuple(LETTERS[: len(names)])
    responses = tuple(f"The answer is ({letter})." for letter in letters)
    listed = lettered(question, letters, names)
    return ChoiceQuestion(item.id, question, listed, names, letters, item.label, responses)
