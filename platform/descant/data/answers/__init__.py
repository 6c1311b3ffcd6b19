"""Final answers of generated texts: how each form is found in a text and when two are the same.

Nothing here raises on any text: where no answer is found there is none (None), which no gold answer equals.
"""

from typing import Literal

from descant.data.answers.latex import latex_answer, same_latex
from descant.data.answers.named import letter_answer, named_answer
from descant.data.answers.numbers import number_answer

AnswerForm = Literal["number", "latex", "letter", "named", "text", "verbatim"]
"""``number`` as in GSM8K, ``latex`` as in MATH, ``letter`` of an option as in AQuA-RAT, ``named`` choices as
LLM-Adapters has them, the whole ``text`` without case and marks, or ``verbatim``."""


def final_answer(form: AnswerForm, text: str, gold: str) -> str | None:
    """The answer that ``text`` ends in, in canonical spelling; ``gold`` says only which names are looked for."""
    if form == "number":
        return number_answer(text)
    if form == "latex":
        return latex_answer(text)
    if form == "letter":
        return letter_answer(text)
    if form == "named":
        return named_answer(text, gold)
    return (text.strip() if form == "verbatim" else _folded(text)) or None


def canonical_answer(form: AnswerForm, gold: str) -> str | None:
    """A gold answer in canonical spelling; None where it is no answer of its form."""
    return final_answer(form, gold, gold)


def same_answer(form: AnswerForm, found: str | None, gold: str) -> bool:
    """Whether a ``final_answer`` is the gold one."""
    if found is None:
        return False
    if form == "latex":
        return same_latex(found, gold)
    return found == canonical_answer(form, gold)


def _folded(text: str) -> str:
    """Without case, surrounding marks and doubled spaces."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")


__all__ = ["AnswerForm", "canonical_answer", "final_answer", "same_answer"]
