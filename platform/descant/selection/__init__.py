"""Selectors of in-context examples: the table of them."""

from typing import Annotated, Union

from pydantic import Field

from descant.selection.base import ExamplePool, Excluded, Fitted, Selector, Targets
from descant.selection.dense import Dense
from descant.selection.lexical import Lexical
from descant.selection.uniform import Uniform

SELECTORS = (Uniform, Lexical, Dense)
AnySelector = Annotated[Union[Uniform, Lexical, Dense], Field(discriminator="kind")]  # noqa: UP007
"""Any selector, told apart by ``kind``."""

__all__ = [
    "SELECTORS",
    "AnySelector",
    "Dense",
    "ExamplePool",
    "Excluded",
    "Fitted",
    "Lexical",
    "Selector",
    "Targets",
    "Uniform",
]
