"""Commonsense questions in the form of LLM-Adapters (arXiv:2304.01933): instruction, input, output, answer.

The eight sets are BoolQ, PIQA, SIQA, HellaSwag, WinoGrande, ARC-Easy, ARC-Challenge and OpenBookQA. Each row says by
its answer format which names its choices have, so a mixture such as commonsense_15k is read the same way.
"""

import re
from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.items import ChoiceQuestion, content_id
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows

_FORMAT = re.compile(r"\s*Answer format:\s*([a-z0-9/ ]+?)\s*$")
_ASKED = re.compile(
    r"^Please (?:choose the correct (?:answer|solution|ending)|answer the following question)[^:]*?"
    r"(?:,\s*question)?:\s*",
)


class Commonsense(SplitFiles):
    """JSON lines in which an instruction lists its choices as "Answer1: …", "Solution1: …", "Option1: …", "Ending1: …",
    or asks for true or false.
    """

    kind: Literal["commonsense"] = "commonsense"
    """Commonsense questions as LLM-Adapters has them."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order.

        Left out are ``no_choices`` (the choices cannot be told apart), ``unknown_label`` (the answer is none of
        them) and ``empty_text``.
        """
        for row in table_rows(self.path_of(split), "jsonl"):
            yield row if isinstance(row, Rejected) else _item(row)


def _item(row: Row) -> ChoiceQuestion | Rejected:
    instruction, answer = row.text("instruction"), row.text("answer").strip()
    given = row.optional_text("input")
    row_id = content_id([instruction, given, answer])
    names = _names(instruction)
    choices: tuple[str, ...]
    stem = _FORMAT.sub("", instruction)
    if names == ("true", "false"):
        asked, choices = stem, ("true", "false")
    else:
        asked, choices = _split_choices(stem, names)
    question = _ASKED.sub("", asked).strip()
    if given.strip():
        question, instruction = f"{given.strip()}\n{question}", f"{instruction}\n\n{given.strip()}"
    if not choices or not all(choices):
        return row.rejected(row_id, "no_choices")
    if answer not in names:
        return row.rejected(row_id, "unknown_label")
    if not question:
        return row.rejected(row_id, "empty_text")
    responses = tuple(f"the correct answer is {name}" for name in names)
    return ChoiceQuestion(row_id, question, instruction, choices, names, names.index(answer), responses)


def _names(instruction: str) -> tuple[str, ...]:
    """What the answer format lists, such as ``answer1/answer2/answer3``."""
    match = _FORMAT.search(instruction)
    return tuple(name.strip() for name in match.group(1).split("/")) if match else ()


def _split_choices(stem: str, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The question before the choices, and their texts; no texts where a heading is missing or out of order.

    The headings are looked for from the last one backwards, so that a question which speaks of "Answer1:" itself does
    not cut the choices.
    """
    texts: list[str] = []
    rest = stem
    for name in reversed(names):
        before, heading, text = rest.rpartition(f"{name.capitalize()}:")
        if not heading:
            return stem, ()
        texts.append(text.strip())
        rest = before
    return rest, tuple(reversed(texts))
