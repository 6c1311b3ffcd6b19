r"""Words that keep their vowel signs.

GPT-2's pre-tokenizer, and most made after it, takes words for runs of letters (``\p{L}+``). The vowel signs of
Devanagari, Tamil, Bengali and others are marks (``\p{M}``), so it cuts such words at every sign, and no piece can reach
over one. With marks among the letters they stay whole, and texts without marks are cut as before.

BERT's uncased normaliser goes further: it takes every non-spacing mark away, also those of letters such as ğ and ş. It
can leave them, and texts without marks are again cut as before; what the base learned of words whose accents it never
saw (café) is then out of reach for these.
"""

import copy
import re
from collections.abc import Iterable
from typing import Any

from descant.core.errors import ConfigError
from descant.vocab.extend import Description, from_description

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What ``ByteLevel`` cuts by where it is asked to (``use_regex``)."""
JOINERS = r"\x{200C}\x{200D}"
"""The two signs that join or part letters of a word without being seen."""
_LETTER = r"\p{L}"
_CLASS = re.compile(r"\[[^\]]*\]")


def keep_marks(described: Description) -> Description:
    """A copy whose words hold marks and joiners as letters, or whose normaliser leaves marks where they are.

    Raises ConfigError where there is neither a pattern for words nor such a normaliser.
    """
    changed = copy.deepcopy(described)
    if strips_marks(changed):
        changed["normalizer"]["strip_accents"] = False
        return changed
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
            "this tokenizer does not cut words by letters and takes no marks away",
            "Nothing was learned. Leave keep_marks out.",
        )
    changed["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": kept}
    return changed


def share_cut_at_marks(described: Description, texts: Iterable[str]) -> float:
    """Which share of the words of ``texts`` is there only because words are cut at marks; 0 where none is."""
    try:
        kept = keep_marks(described)
    except ConfigError:
        return 0.0
    now, whole = (from_description(one).backend_tokenizer.pre_tokenizer for one in (described, kept))
    counts = [(len(now.pre_tokenize_str(text)), len(whole.pre_tokenize_str(text))) for text in texts]
    num_now, num_whole = (sum(column) for column in zip((0, 0), *counts, strict=True))
    return 1 - num_whole / num_now if num_now else 0.0


def strips_marks(described: Description) -> bool:
    """Whether its normaliser is BERT's and takes marks away: where it is told to, or nothing else, and lower-cases."""
    step = described["normalizer"]
    if step is None or step["type"] != "BertNormalizer":
        return False
    said = step["strip_accents"]
    return bool(step["lowercase"] if said is None else said)


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
