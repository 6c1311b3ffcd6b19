"""What sources of tasks hand on: one record per example, free of prompts and of any model."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text, or a pair of them, with its class. ``label`` indexes the source's label names."""

    id: str
    text: str
    pair: str | None
    label: int


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file's bytes (PNG or JPEG) with its class."""

    id: str
    image: bytes
    label: int


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A question and its possible answers.

    ``instruction`` asks it in the published form, choices included; ``names`` are what the published form answers
    with (``answer1``, ``true``, ``B``), one for each of ``choices``. ``responses`` are the published answers in full,
    one for each choice, or a single one, of the gold choice, where it is reasoned.
    """

    id: str
    question: str
    instruction: str
    choices: tuple[str, ...]
    names: tuple[str, ...]
    gold: int
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instruction:
    """Something asked and the response wanted. ``answer`` is its final answer where the source names one."""

    id: str
    instruction: str
    input: str
    response: str
    answer: str | None


def content_id(parts: Iterable[str]) -> str:
    """An id made of an example's content: the same in any order of rows, on any machine."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
