r"""Answers written in LaTeX, as MATH (arXiv:2103.03874) has them: the last ``\boxed{}``, in one spelling.

The spelling is that of the MATH evaluation (spaces, ``\left``, ``\dfrac``, degrees, units, "x =", .5) with whole
numbers, decimals and fractions compared by value; everything else, intervals and sets among them, is compared as a
string.
"""

import re

from descant.data.answers.numbers import MARK, number_value

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_WORD = re.compile(r"[^\s${]+")
_MAX_ROUNDS = 40

_SPACE = re.compile(r"(?<!\\)\\(?:[!,;:> ]|quad|qquad|displaystyle)(?![a-zA-Z])|~|\u00a0")
_SIZE = re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])|°|\\circ(?![a-zA-Z])$")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|hbox)\s*\{([^{}]*)\}")
_UNIT_TEXT = re.compile(
    r"(?<=[0-9})\]])\s*\\(?:text|textrm|mbox|mathrm|hbox)\s*\{[^{}0-9]*\}(?:\^\{?[23]\}?)?\s*\.?$"
)
_UNIT_WORDS = re.compile(
    r"(?<=[0-9})])\s+(?!(?:or|and|to|pi|i)\b)(?:[a-zA-Z]{2,}|m|g)(?:\s+[a-zA-Z]{2,})*(?:\^\{?[23]\}?)?\s*\.?$"
)
_LEFT_SIDE = re.compile(
    r"^\s*[a-zA-Z]{1,2}(?:_\{?\w\}?)?(?:\([a-z]\))?\s*(?:=|\\in(?![a-zA-Z]))\s*(?=[^=]+$)"
)
_SYNONYMS = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\leq(?:slant)?(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\geq(?:slant)?(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne"),
    (re.compile(r"\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
)
_SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9a-zA-Z])")
_SHORT_FRACTION = re.compile(
    r"\\frac\s*(?:([0-9a-zA-Z])\s*(?:([0-9a-zA-Z])|(\{))|(\{[^{}]*\})\s*([0-9a-zA-Z]))"
)
_SLASH = re.compile(r"^(-?)([0-9]+)/([0-9]+)$")
_NEGATIVE_ABOVE = re.compile(r"^\\frac\{-([^{}]*)\}")
_THOUSANDS = re.compile(r"^-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$")
_BARE_POINT = re.compile(r"(?<![0-9])\.(?=[0-9])")
_ZEROS = re.compile(r"(?<![0-9.])([0-9]+)\.([0-9]*?)0*(?![0-9.])")
_LETTER = re.compile(r"^\(([A-Za-z])\)$")


def boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{…}`` or ``\fbox{…}`` that is closed; ``\boxed 5`` too."""
    closing = _closing_braces(text)
    for match in reversed(list(_BOX.finditer(text))):
        start = match.end()
        if start in closing:
            return text[start + 1 : closing[start]].strip()
        word = _WORD.match(text, start)
        if word and match.group().endswith(" "):
            return word.group().rstrip(".")
    return None


def _closing_braces(text: str) -> dict[int, int]:
    """Where each brace that is closed ends, by where it begins; one pass, whatever the text."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for place, character in enumerate(text):
        if character == "{":
            opened.append(place)
        elif character == "}" and opened:
            ends[opened.pop()] = place
    return ends


def latex_answer(text: str) -> str | None:
    """The final answer in one spelling: boxed, else what follows the last "The answer is" on its line.

    A text without either that is short enough to be an answer itself (one line) is taken whole.
    """
    found = boxed(text)
    if found is None:
        marks = list(MARK.finditer(text))
        after = text[marks[-1].end() :] if marks else text if "\n" not in text.strip() else ""
        found = after.strip().partition("\n")[0]
    return normalise_latex(found) or None


def same_latex(found: str, gold: str) -> bool:
    """Whether two answers are equal: by value where both are numbers, else letter by letter."""
    one, other = normalise_latex(found), normalise_latex(gold)
    if one == other:
        return bool(one)
    values = number_value(one), number_value(other)
    return values[0] is not None and values[0] == values[1]


def normalise_latex(answer: str) -> str:
    """One spelling for the answers that MATH takes as equal; doing it twice changes nothing."""
    for _ in range(_MAX_ROUNDS):
        before, answer = answer, _rewritten(answer)
        if answer == before:
            break
    return answer


def _rewritten(answer: str) -> str:
    answer = _SIZE.sub("", answer.strip())
    for spelling in ("\\$", "$", "\\%", "%", "\\(", "\\)", "\\[", "\\]"):
        answer = answer.replace(spelling, "")
    answer = answer.replace("{,}", ",").replace("\u2212", "-").replace("\\-", "-")
    answer = _DEGREES.sub("", answer)
    answer = _UNIT_TEXT.sub("", answer)
    answer = _TEXT.sub(r"\1", answer)
    answer = _SPACE.sub(" ", answer)
    answer = _UNIT_WORDS.sub("", answer.strip())
    answer = _LEFT_SIDE.sub("", answer)
    for pattern, spelling in _SYNONYMS:
        answer = pattern.sub(spelling, answer)
    answer = _SHORT_ROOT.sub(r"\\sqrt{\1}", answer)
    answer = _SHORT_FRACTION.sub(_full_fraction, answer)
    answer = re.sub(r"\s+", "", answer).rstrip(".")
    answer = _SLASH.sub(r"\1\\frac{\2}{\3}", answer)
    answer = _NEGATIVE_ABOVE.sub(r"-\\frac{\1}", answer)
    if _THOUSANDS.match(answer):
        answer = answer.replace(",", "")
    answer = _BARE_POINT.sub("0.", answer)
    answer = _ZEROS.sub(lambda m: f"{m[1]}.{m[2]}" if m[2] else m[1], answer)
    answer = _LETTER.sub(r"\1", answer)
    return answer.lower() if re.fullmatch(r"[A-Za-z]{4,}", answer) else answer


def _full_fraction(match: re.Match[str]) -> str:
    above, below, opening, braced, last = match.groups()
    if braced is not None:
        return f"\\frac{braced}{{{last}}}"
    return f"\\frac{{{above}}}{opening}" if opening else f"\\frac{{{above}}}{{{below}}}"
