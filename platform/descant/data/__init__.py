"""Floor 2: outside data as records, the texts that are sent to an encoder, and final answers."""

from typing import Annotated

from pydantic import Field

from descant.data.beir import Beir
from descant.data.choices import Choices
from descant.data.columns import Columns
from descant.data.commonsense import Commonsense
from descant.data.digits import Digits
from descant.data.exams import Exams
from descant.data.flagembedding import FlagEmbedding
from descant.data.instructions import Chats, Instructions
from descant.data.labelled_images import ImageFolder, ImageTable
from descant.data.labelled_text import LabelledTexts
from descant.data.math_questions import AquaRat, Gsm8k, MathProblems
from descant.data.mlama import Mlama
from descant.data.msmarco import MsMarcoTriples
from descant.data.named_classes import NamedClasses
from descant.data.rejects import RowCheck
from descant.data.source import RetrievalSource
from descant.data.squad import Squad
from descant.data.story_cloze import StoryCloze
from descant.data.tevatron import Tevatron, TevatronTexts
from descant.data.translations import Translations
from descant.data.xcopa import Xcopa
from descant.data.xnli import Xnli

RETRIEVAL_SOURCES: tuple[type[RetrievalSource], ...] = (
    Beir,
    Tevatron,
    TevatronTexts,
    Columns,
    FlagEmbedding,
    MsMarcoTriples,
    Squad,
    Translations,
)
"""Every layout that retrieval data may come in."""

AnyRetrievalSource = Annotated[
    Beir | Tevatron | TevatronTexts | Columns | FlagEmbedding | MsMarcoTriples | Squad | Translations,
    Field(discriminator="kind"),
]
"""A spec field that takes any of them, told apart by ``kind``."""

AnyLabelledSource = LabelledTexts
"""Labelled texts; a discriminated union as soon as there are two."""
AnyImageSource = Annotated[Digits | ImageFolder | ImageTable, Field(discriminator="kind")]
"""Labelled images."""
AnyChoiceSource = Annotated[
    Commonsense | AquaRat | Choices | NamedClasses | Exams | Mlama | StoryCloze | Xcopa | Xnli,
    Field(discriminator="kind"),
]
"""Questions with choices."""
AnyInstructionSource = Annotated[Instructions | Chats | Gsm8k | MathProblems, Field(discriminator="kind")]
"""What is asked, with the response wanted."""

__all__ = [
    "RETRIEVAL_SOURCES",
    "AnyChoiceSource",
    "AnyImageSource",
    "AnyInstructionSource",
    "AnyLabelledSource",
    "AnyRetrievalSource",
    "RetrievalSource",
    "RowCheck",
]
