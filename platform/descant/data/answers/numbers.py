r"""Numbers as final answers, as GSM8K (arXiv:2110.14168) wants them.

Looked for is the first number after the last "####", "The answer is" or "Answer:", on its line and after that line's
last "="; without such a mark, the last number of the text. Read are thousands (1,234,567), decimals, signs, fractions
(3/4, ``\frac{3}{4}``, 2 1/2, ½) and powers of ten; currency and percent signs and the words behind are passed over.
Numbers are compared exactly: 0.50 is 1/2, and 0.33 is not 1/3.
"""

import re
from fractions import Fraction

MARK = re.compile(r"####|\banswers?\s*(?:is|are|:|=)(?:\s*:)?", re.IGNORECASE)
"""What stands before a final answer."""
MAX_DIGITS = 300
"""Longer numbers and larger powers of ten are no answers."""

_WHOLE = r"(?:[0-9]+(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_PLAIN = rf"(?:{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(
    r"(?<![A-Za-z_])"
    r"(?P<sign>(?<![\w)\]}.])[-+](?=[0-9.$]))?"
    r"(?:[$€£¥₹]\s?(?P<inner>-(?=[0-9.]))?)?\s?"
    rf"(?:(?P<whole>[0-9]+)\s+(?P<above>[0-9]+)\s?/\s?(?P<below>[0-9]+)|(?P<top>{_PLAIN})\s?/\s?(?P<bottom>{_PLAIN})"
    rf"|(?P<plain>{_PLAIN})(?:[eE](?P<power>[-+]?[0-9]+)(?![A-Za-z0-9])"
    r"|\s?(?:[x*]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<tens>[-+]?[0-9]+)\}?)?)"
)
_FRACTION = re.compile(r"\s?\\[dtc]?frac\s?\{\s?(-?[0-9]+)\s?\}\s?\{\s?([0-9]+)\s?\}")
_SPELLINGS = {
    **{
        "\u2212": "-",
        "\u2013": "-",
        "\u2044": "/",
        "\u00d7": "x",
        "½": " 1/2",
        "¼": " 1/4",
        "¾": " 3/4",
        "⅓": " 1/3",
        "⅔": " 2/3",
    },
    **{"{,}": ",", "\\,": "", "\\!": "", "\\$": "$", "\\%": "%", "\u00a0": " ", "**": ""},
}


def number_answer(text: str) -> str | None:
    """The final number in canonical spelling: ``42``, ``-0.5``, or a fraction such as ``1/3``."""
    plain = _plain(text)
    marks = list(MARK.finditer(plain))
    if marks:
        line = plain[marks[-1].end() :].strip().partition("\n")[0]
        for part in (line.rpartition("=")[2], line):
            found = _values(part)
            if found:
                return _spelled(found[0])
    found = _values(plain)
    return _spelled(found[-1]) if found else None


def number_value(text: str) -> Fraction | None:
    """The value of a text that is a number and nothing else."""
    plain = _plain(text).strip()
    match = _NUMBER.fullmatch(plain)
    return _value(match) if match else None


def _plain(text: str) -> str:
    for spelling, plain in _SPELLINGS.items():
        text = text.replace(spelling, plain)
    return _FRACTION.sub(r" \1/\2", text)


def _values(text: str) -> list[Fraction]:
    values = (_value(match) for match in _NUMBER.finditer(text))
    return [value for value in values if value is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    if max(map(len, match.groupdict("").values())) > MAX_DIGITS:
        return None
    power = match["power"] or match["tens"] or "0"
    if abs(int(power)) > MAX_DIGITS:
        return None
    if match["whole"] is not None:
        numerator, denominator = Fraction(match["above"]), Fraction(match["below"])
        value = Fraction(match["whole"])
    else:
        numerator = _fraction(match["top"] or match["plain"])
        denominator = _fraction(match["bottom"] or "1")
        value = Fraction(0)
    if not denominator:
        return None
    value = (value + numerator / denominator) * Fraction(10) ** int(power)
    return -value if "-" in (match["sign"], match["inner"]) else value


def _fraction(plain: str) -> Fraction:
    return Fraction(f"0{plain}" if plain.startswith(".") else plain.replace(",", ""))


def _spelled(value: Fraction) -> str:
    """A whole number, a decimal where it ends, or a fraction."""
    digits = 0
    rest = value.denominator
    for factor in (10, 5, 2):
        while rest % factor == 0:
            rest, digits = rest // factor, digits + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    if not digits:
        return str(value.numerator)
    shifted = str(abs(value.numerator) * 10**digits // value.denominator).rjust(digits + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{shifted[:-digits]}.{shifted[-digits:]}".rstrip("0").rstrip(".")
