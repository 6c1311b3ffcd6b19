r"""Words that keep their vowel signs.

GPT-2's pre-tokenizer, and most made after it, takes words for runs of letters (``\p{L}+``). The vowel signs of
Devanagari, Tamil, Bengali and others are marks (``\p{M}``), so it cuts such words at every sign, and no piece can reach
over one. With marks among the letters they stay whole, and texts without marks are cut as before.
"""

import copy
import re
from typing import Any

from descant.core.errors import ConfigError
from descant.vocab.extend import Description

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What ``ByteLevel`` cuts by where it is asked to (``use_regex``)."""
JOINERS = r"\x{200C}\x{200D}"
"""The two signs that join or part letters of a word without being seen."""
_LETTER = r"\p{L}"
_CLASS = re.compile(r"\[[^\]]*\]")


def keep_marks(described: Description) -> Description:
    """A copy whose words hold marks and joiners as letters; raises ConfigError where there is no pattern for words."""
    changed = copy.deepcopy(described)
    step = changed["pre_tokenizer"]
    steps = step["pretokenizers"] if step is not None and step["type"] == "Sequence" else [step]
    found = False
    kept: list[dict[str, Any]] = []
    for one in filter(None, steps):
        if one["type"] == "ByteLevel" and one["use_regex"]:
            kept.append(_split(with_marks(GPT2)))
            kept.append(one | {"use_regex": False})
            found = True
        elif one["type"] == "Split" and "Regex" in one["pattern"] and _LETTER in one["pattern"]["Regex"]:
            kept.append(one | {"pattern": {"Regex": with_marks(one["pattern"]["Regex"])}})
            found = True
        else:
            kept.append(one)
    if not found:
        raise ConfigError(
            "E-VOC-MARKS",
            "keep_marks",
            "this tokenizer does not cut words by letters",
            "Nothing was learned. Leave keep_marks out.",
        )
    changed["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": kept}
    return changed


def with_marks(pattern: str) -> str:
    r"""``pattern`` with marks and joiners wherever it says letters, in classes of characters or by themselves."""
    both = rf"\p{{L}}\p{{M}}{JOINERS}"
    parts, last = [], 0
    for match in _CLASS.finditer(pattern):
        parts.append(pattern[last : match.start()].replace(_LETTER, f"[{both}]"))
        parts.append(match.group().replace(_LETTER, both))
        last = match.end()
    parts.append(pattern[last:].replace(_LETTER, f"[{both}]"))
    return "".join(parts)


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
