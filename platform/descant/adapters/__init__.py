"""Adaptation methods: the table of them."""

from typing import Annotated

from pydantic import Field

from descant.adapters.base import Method
from descant.adapters.full import Full
from descant.adapters.library import Dora, Lora

METHODS = (Lora, Dora, Full)
AnyMethod = Annotated[Lora | Dora | Full, Field(discriminator="kind")]
"""Any method, told apart by ``kind``."""

__all__ = ["METHODS", "AnyMethod", "Dora", "Full", "Lora", "Method"]
