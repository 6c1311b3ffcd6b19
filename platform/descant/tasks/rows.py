"""Rows of prepared tasks: what training and evaluation read, one Arrow schema for each family."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Family = Literal["classification", "image", "text"]


@dataclass(frozen=True, slots=True)
class ClassificationRow:
    """A text, or a pair of them, with its class."""

    id: str
    text: str
    pair: str | None
    label: int

    @property
    def key(self) -> str:
        """What makes two rows the same example: the texts without case and spacing."""
        return _folded(f"{self.text}\x1f{self.pair or ''}")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image file's bytes with its class."""

    id: str
    image: bytes
    label: int

    @property
    def key(self) -> str:
        """What makes two rows the same example: the file's bytes."""
        return hashlib.sha256(self.image).hexdigest()


@dataclass(frozen=True, slots=True)
class TextRow:
    """A prompt and the response wanted. ``prompt + response`` is the training text, ``prompt + choices[i]`` what
    likelihood compares; both begin where the prompt's last character ends. ``gold`` indexes ``choices``, and is -1
    where there are none. ``asked`` is not stored: the question without its prompt.
    """

    id: str
    prompt: str
    response: str
    answer: str
    choices: tuple[str, ...]
    gold: int
    asked: str

    @property
    def key(self) -> str:
        """What makes two rows the same example: the question without case and spacing."""
        return _folded(self.asked)


TaskRow = ClassificationRow | ImageRow | TextRow

SCHEMAS: dict[Family, pa.Schema] = {
    "classification": pa.schema(
        [("id", pa.string()), ("text", pa.string()), ("pair", pa.string()), ("label", pa.int32())]
    ),
    "image": pa.schema([("id", pa.string()), ("image", pa.binary()), ("label", pa.int32())]),
    "text": pa.schema(
        [
            ("id", pa.string()),
            ("prompt", pa.string()),
            ("response", pa.string()),
            ("answer", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("gold", pa.int32()),
        ]
    ),
}


def rows_table(family: Family, rows: Sequence[TaskRow]) -> pa.Table:
    """The rows of one family as a table."""
    schema = SCHEMAS[family]
    return pa.table({name: [getattr(row, name) for row in rows] for name in schema.names}, schema=schema)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
