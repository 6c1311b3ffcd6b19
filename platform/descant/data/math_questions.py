"""Mathematics: GSM8K (arXiv:2110.14168), MATH (arXiv:2103.03874) and AQuA-RAT (arXiv:1705.04146)."""

import re
from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.answers.latex import boxed
from descant.data.instructions import instruction
from descant.data.items import ChoiceQuestion, Instruction, content_id
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import TableFormat, table_rows

_CALCULATION = re.compile(r"<<[^<>]*>>")
_OPTION = re.compile(r"^\s*\(?([A-J])\s*\)\s*", re.IGNORECASE)


class Gsm8k(SplitFiles):
    """``question`` and ``answer``, a solution that ends with "#### 42".

    The calculator's notes within a solution (``<<16-3-4=9>>``) are dropped: they stand for a tool that we do not run.
    """

    kind: Literal["gsm8k"] = "gsm8k"
    """GSM8K."""
    format: TableFormat = "jsonl"
    """How the files are written."""

    def items(self, split: Split) -> Iterator[Instruction | Rejected]:
        """The rows in file order; a solution without "####" is ``no_answer``."""
        for row in table_rows(self.path_of(split), self.format, ["question", "answer"]):
            yield row if isinstance(row, Rejected) else _gsm8k(row)


def _gsm8k(row: Row) -> Instruction | Rejected:
    question, solution = row.text("question"), _CALCULATION.sub("", row.text("answer"))
    _, mark, answer = solution.rpartition("####")
    if not mark or not answer.strip():
        return row.rejected(content_id([question, "", solution]), "no_answer")
    return instruction(row, question, "", solution, answer.strip())


class MathProblems(SplitFiles):
    r"""``problem`` and ``solution``, whose last ``\boxed{}`` is the answer."""

    kind: Literal["math"] = "math"
    """MATH."""
    format: TableFormat = "jsonl"
    """How the files are written."""

    def items(self, split: Split) -> Iterator[Instruction | Rejected]:
        """The rows in file order; a solution without a box is ``no_answer``."""
        for row in table_rows(self.path_of(split), self.format, ["problem", "solution"]):
            yield row if isinstance(row, Rejected) else _math(row)


def _math(row: Row) -> Instruction | Rejected:
    problem, solution = row.text("problem"), row.text("solution")
    answer = boxed(solution)
    if not answer:
        return row.rejected(content_id([problem, "", solution]), "no_answer")
    return instruction(row, problem, "", solution, answer)


class AquaRat(SplitFiles):
    """``question``, ``options`` ("A)32400", …), ``rationale`` and ``correct``, a letter."""

    kind: Literal["aqua_rat"] = "aqua_rat"
    """AQuA-RAT."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """How the files are written."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order; left out are ``no_choices`` and ``unknown_label``."""
        columns = ["question", "options", "rationale", "correct"]
        for row in table_rows(self.path_of(split), self.format, columns):
            yield row if isinstance(row, Rejected) else _aqua(row)


def _aqua(row: Row) -> ChoiceQuestion | Rejected:
    question, rationale = row.text("question").strip(), row.text("rationale").strip()
    marks = [_OPTION.match(option) for option in row.texts("options")]
    choices = tuple(_OPTION.sub("", option).strip() for option in row.texts("options"))
    row_id = content_id([question, *choices, row.text("correct")])
    names = tuple(mark.group(1).upper() for mark in marks if mark is not None)
    if len(names) != len(choices) or len(set(names)) != len(names) or len(names) < 2 or not all(choices):
        return row.rejected(row_id, "no_choices")
    correct = row.text("correct").strip().upper()
    if correct not in names:
        return row.rejected(row_id, "unknown_label")
    if not question:
        return row.rejected(row_id, "empty_text")
    said = f"The answer is ({correct})."
    response = f"{rationale}\n{said}" if rationale else said
    asked = lettered(question, names, choices)
    return ChoiceQuestion(row_id, question, asked, choices, names, names.index(correct), (response,))


def lettered(question: str, names: tuple[str, ...], choices: tuple[str, ...]) -> str:
    """A question followed by its choices, one a line: ``(A) …``."""
    lines = [f"({name}) {choice}" for name, choice in zip(names, choices, strict=True)]
    return "\n".join([question, "Answer choices:", *lines])
