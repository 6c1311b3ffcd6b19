"""Words of a text as a tokenizer cuts them: what merges are counted in.

Families are told apart by what their pieces are made of: ``byte_level`` (GPT-2, Llama 3, Qwen, SmolLM, BLOOM: bytes
written as letters), ``spaced`` (SentencePiece's BPE as in Llama 2, Mistral, Gemma: characters, ``▁`` for a space, bytes
for what is missing), ``wordpiece`` (BERT: ``##`` inside a word) and ``unigram`` (SentencePiece's other model, XGLM).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from descant.core.chunks import chunks
from descant.core.errors import ConfigError
from descant.vocab.merges import Word

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Family = Literal["byte_level", "spaced", "wordpiece", "unigram"]
FAMILIES: Mapping[Family, str] = {
    "byte_level": "byte-level BPE",
    "spaced": "BPE with byte fallback",
    "wordpiece": "WordPiece",
    "unigram": "Unigram",
}
"""The families that are known, as people call them."""
SPACE = "▁"
TEXTS_AT_ONCE = 1000
"""Texts that are tokenised together."""
_BYTE = re.compile("<0x[0-9A-F]{2}>")


def description(tokenizer: "PreTrainedTokenizerFast") -> dict[str, Any]:
    """The tokenizer as the library writes it to ``tokenizer.json``."""
    found: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return found


def cutter(tokenizer: "PreTrainedTokenizerFast") -> "Tokenizer":
    """What cuts whole texts: the backend without the truncation and padding that its file may ask for."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    if backend.truncation is None and backend.padding is None:
        return backend
    copied = type(backend).from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def family_of(described: Mapping[str, Any]) -> Family:
    """Which family a ``tokenizer.json`` is of; raises ConfigError for any other."""
    model = described["model"]
    if model["type"] == "WordPiece":
        return "wordpiece"
    if model["type"] == "Unigram":
        return "unigram"
    if model["type"] == "BPE" and any(part["type"] == "ByteLevel" for part in _parts(described)):
        return "byte_level"
    if model["type"] == "BPE" and model.get("byte_fallback"):
        return "spaced"
    raise ConfigError(
        "E-VOC-FAMILY",
        f"tokenizer with a {model['type']} model",
        f"expected one of {', '.join(FAMILIES.values())}",
        "Nothing was learned. Choose another base.",
    )


def count_words(tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str], family: Family) -> Counter[Word]:
    """How often each word, as its pieces, stands in ``texts``; texts are taken as they come, without special tokens.

    Bytes that stand for missing characters are words of their own: joined, no decoder would know them.
    """
    counts: Counter[Word] = Counter()
    backend = cutter(tokenizer)
    for batch in chunks(texts, TEXTS_AT_ONCE):
        for encoding in backend.encode_batch(batch, add_special_tokens=False):
            counts.update(_words(encoding.tokens, encoding.word_ids, family))
    return counts


def _words(pieces: list[str], numbers: list[int | None], family: Family) -> Iterable[Word]:
    """``numbers``: the word that each piece stands in, as the tokenizer counts them."""
    word: list[str] = []
    previous: int | None = None
    for piece, number in zip(pieces, numbers, strict=True):
        ends = family == "spaced" and (
            piece.startswith(SPACE) or is_byte(piece) or (bool(word) and is_byte(word[-1]))
        )
        if word and (ends or number != previous):
            yield tuple(word)
            word = []
        word.append(piece)
        previous = number
    if word:
        yield tuple(word)


def missing_characters(
    tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str], *, min_count: int
) -> list[str]:
    """Characters of ``texts`` that are no pieces, the most frequent first; those rarer than ``min_count`` are left out.

    A ``spaced`` tokenizer writes each as several bytes, so no merge can be made of it.
    """
    known = tokenizer.get_vocab()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    missing = [(-count, one) for one, count in counts.items() if one not in known and not one.isspace()]
    return [one for count, one in sorted(missing) if -count >= min_count]


def is_byte(piece: str) -> bool:
    """Whether a piece stands for one byte: ``<0xE0>``."""
    return _BYTE.fullmatch(piece) is not None


def _parts(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps of its pre-tokenizer."""
    step = described.get("pre_tokenizer")
    if step is None:
        return []
    return list(step["pretokenizers"]) if step["type"] == "Sequence" else [step]
