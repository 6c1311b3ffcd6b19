"""Choices as final answers: the letter of an option, or the names that LLM-Adapters gives to choices."""

import re

_LETTERS = (
    re.compile(
        r"(?i:\banswers?)\s*(?i:is|are)?\s*[:=]?\s*(?i:(?:the\s+)?(?:option|choice))?\s*(?:\\boxed\{|\*\*|\$)?"
        r"(?:[(\[]([A-Ja-j])[)\]]|([A-J])(?![\w']))"
    ),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-Ja-j])\)?\s*\}"),
    re.compile(r"(?i:\b(?:option|choice))\s*\(?([A-J])(?![\w'])"),
    re.compile(r"(?<!\w)\(?([A-J])\)"),
    re.compile(r"^\s*\(?([A-Ja-j])\)?\s*[.:]?\s*$"),
    re.compile(r"^\s*([A-J])[.:]\s"),
)
"""Ways to name an option, the surest first."""
_FAMILIES = {
    "true": re.compile(r"true|false"),
    "false": re.compile(r"true|false"),
    "answer": re.compile(r"answer[1-5]"),
    "solution": re.compile(r"solution[12]"),
    "option": re.compile(r"option[12]"),
    "ending": re.compile(r"ending[1-4]"),
}


def letter_answer(text: str) -> str | None:
    """The letter of an option, in upper case: "The answer is (C)", "Answer: C", "option C", "C)" or "C" alone.

    The surest way of naming it decides, and of that way the last. A lower-case letter counts in brackets or alone.
    """
    for pattern in _LETTERS:
        found = [match.group(match.lastindex or 0) for match in pattern.finditer(text)]
        if found:
            return str(found[-1]).upper()
    return None


def named_answer(text: str, gold: str) -> str | None:
    """The first of the names of ``gold``'s family (``true``, ``answer3``) in ``text``, as the published evaluation
    finds it: anywhere, in lower case only.
    """
    family = _FAMILIES.get(gold.strip().rstrip("0123456789"))
    match = family.search(text) if family is not None else None
    return match.group() if match else None
