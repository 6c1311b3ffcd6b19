"""First values of the embeddings of new tokens: the table."""

from typing import Annotated, Union

from pydantic import Field

from descant.vocab.initialise.focus import Focus
from descant.vocab.initialise.mean import Mean, WeightedMean
from descant.vocab.initialise.random import Normal, Random, RandomRow

INITIALISERS = (Mean, WeightedMean, Focus, Normal, RandomRow, Random)
AnyInitialiser = Annotated[
    Union[Mean, WeightedMean, Focus, Normal, RandomRow, Random],  # noqa: UP007
    Field(discriminator="kind"),
]
"""Any initialiser, told apart by ``kind``."""
