"""Translation, and whatever else is one text for another, such as a headline for a summary (XL-Sum, arXiv:2106.13822).

A prompt names both: ``English: …`` and on the next line ``Hindi:``. An answer is one line, so it is generated up to the
first line break.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from descant.core.records import Rejected
from descant.data.instructions import Instructions
from descant.data.items import Instruction
from descant.data.parallel import Parallel
from descant.data.pieces import Pieces
from descant.data.splits import Split
from descant.tasks.base import Task, TaskSource, joined_sources
from descant.tasks.rows import Family, TaskRow, TextRow
from descant.tasks.shots import Shots

TextMeasure = Literal["spbleu", "chrf", "exact_match", "bits_per_byte"]
"""BLEU over the pieces of a SentencePiece model; chrF++; share of texts that are the reference; of the reference, the
negative log-likelihood in bits per byte."""

Label = Annotated[str, Field(pattern=r"^\S[^\n:]*$")]


class Translation(Task):
    """Write a given text in another language, or in another form."""

    family: ClassVar[Family] = "text"

    kind: Literal["translation"] = "translation"
    """Translation."""
    source: Annotated[Parallel | Instructions, Field(discriminator="kind")]
    """Texts and what is to be made of them."""
    given: Label
    """What a given text is called in the prompt: English, Summary."""
    wanted: Label
    """What is to be made of it: Hindi, Title."""
    shots: Shots | None = None
    """Solved examples before each text that is asked; none if left out."""
    pieces: Pieces | None = None
    """The model that cuts texts for ``spbleu``."""
    measures: tuple[TextMeasure, ...] = Field(("chrf",), min_length=1)
    """How it is scored; the first decides."""

    @model_validator(mode="after")
    def _pieces_for_spbleu(self) -> Self:
        if ("spbleu" in self.measures) != (self.pieces is not None):
            raise ValueError(
                "spbleu and pieces go together: it counts the pieces of a SentencePiece model, whose file is given"
            )
        return self

    def identity(self) -> Mapping[str, Any]:
        """Without the pieces, which change no row."""
        return {k: v for k, v in super().identity().items() if k != "pieces"}

    def sources(self) -> Mapping[Split, TaskSource]:
        """Every split from the one source."""
        return joined_sources(self.source, None)

    def rows(self, split: Split, *, asked: bool) -> Iterator[TaskRow | Rejected]:
        """The texts, each on one line; the answer is the reference as it stands."""
        rows = self._rows(split)
        if self.shots is None or not asked:
            return rows
        return self.shots.before(rows, self._rows(self.shots.split))

    def facts(self) -> Mapping[str, Any]:
        """Answers are generated and compared as they stand."""
        return {"family": self.family, "scored_by": "generation", "answer_form": "verbatim"}

    def _rows(self, split: Split) -> Iterator[TextRow | Rejected]:
        for item in self.source.items(split):
            yield item if isinstance(item, Rejected) else self._row(item)

    def _row(self, item: Instruction) -> TextRow:
        given, wanted = _on_one_line(item.instruction), _on_one_line(item.response)
        return TextRow(
            id=item.id,
            prompt=f"{self.given}: {given}\n{self.wanted}:",
            response=f" {wanted}",
            answer=wanted,
            choices=(),
            gold=-1,
            asked=given,
        )


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
