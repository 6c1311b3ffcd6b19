"""Floor 2: outside data as records, and the texts that are sent to an encoder."""

from typing import Annotated

from pydantic import Field

from descant.data.beir import Beir
from descant.data.columns import Columns
from descant.data.flagembedding import FlagEmbedding
from descant.data.msmarco import MsMarcoTriples
from descant.data.rejects import RowCheck
from descant.data.source import RetrievalSource
from descant.data.tevatron import Tevatron, TevatronTexts

RETRIEVAL_SOURCES: tuple[type[RetrievalSource], ...] = (
    Beir,
    Tevatron,
    TevatronTexts,
    Columns,
    FlagEmbedding,
    MsMarcoTriples,
)
"""Every layout that retrieval data may come in."""

AnyRetrievalSource = Annotated[
    Beir | Tevatron | TevatronTexts | Columns | FlagEmbedding | MsMarcoTriples, Field(discriminator="kind")
]
"""A spec field that takes any of them, told apart by ``kind``."""

__all__ = ["RETRIEVAL_SOURCES", "AnyRetrievalSource", "RetrievalSource", "RowCheck"]
