"""New pieces for a tokenizer: every id it had stays, new ids follow the largest of them.

Three ways: merges appended to those of a BPE tokenizer, pieces appended to a WordPiece vocabulary, and tokens added
beside the model, which win over it wherever they stand, inside other words too, or as whole words alone. Pieces with
scores are appended in ``descant.vocab.unigram``.
"""

import copy
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from descant.core.errors import ConfigError
from descant.vocab.merges import Merge

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Description = dict[str, Any]
"""A tokenizer as its ``tokenizer.json``."""


def next_id(described: Description) -> int:
    """The first id behind those of all tokens."""
    vocabulary = described["model"]["vocab"]
    pieces = range(len(vocabulary)) if isinstance(vocabulary, list) else vocabulary.values()
    return max([*pieces, *(token["id"] for token in described["added_tokens"])]) + 1


def append_merges(
    described: Description, merges: Sequence[Merge], characters: Sequence[str] = ()
) -> Description:
    """A copy with ``characters`` as pieces of their own, then ``merges`` behind all that there are.

    Raises ConfigError where a merge names a piece that there is not, or makes one that there is.
    """
    extended = copy.deepcopy(described)
    vocabulary: dict[str, int] = extended["model"]["vocab"]
    number = next_id(extended)
    for piece in characters:
        number = _add(vocabulary, piece, number)
    for merge in merges:
        number = _add(vocabulary, merge.piece, number)
    listed = extended["model"]["merges"]
    as_text = bool(listed) and isinstance(listed[0], str)
    for merge in merges:
        for part in (merge.left, merge.right):
            if part not in vocabulary:
                raise refused(f"merge {merge.left} {merge.right}", f"the tokenizer has no piece {part!r}")
        listed.append(f"{merge.left} {merge.right}" if as_text else [merge.left, merge.right])
    return extended


def append_pieces(described: Description, pieces: Sequence[str]) -> Description:
    """A copy of a WordPiece tokenizer with ``pieces`` at the end of its vocabulary, ``##`` in front of inner ones."""
    extended = copy.deepcopy(described)
    number = next_id(extended)
    for piece in pieces:
        number = _add(extended["model"]["vocab"], piece, number)
    return extended


def add_tokens(described: Description, texts: Iterable[str], *, whole_words: bool) -> Description:
    """A copy with ``texts`` as added tokens, found before the model sees a text; those that exist are left out."""
    extended = copy.deepcopy(described)
    known = {token["content"] for token in extended["added_tokens"]}
    number = next_id(extended)
    for text in texts:
        if text in known:
            continue
        known.add(text)
        flags = {
            "single_word": whole_words,
            "lstrip": False,
            "rstrip": False,
            "normalized": True,
            "special": False,
        }
        extended["added_tokens"].append({"id": number, "content": text, **flags})
        number += 1
    return extended


def from_description(described: Description) -> "PreTrainedTokenizerFast":
    """A tokenizer that cuts as described; it has no special tokens by name."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)))


def _add(vocabulary: dict[str, int], piece: str, number: int) -> int:
    if piece in vocabulary:
        raise refused(piece, "the tokenizer has this piece already")
    vocabulary[piece] = number
    return number + 1


def refused(where: str, problem: str) -> ConfigError:
    """The error of a tokenizer that cannot take what it is given."""
    return ConfigError(
        "E-VOC-EXTEND", where, problem, "Nothing was written. Learn pieces with this tokenizer."
    )
