"""The records that flow between stages: frozen, slotted, and free of behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A document of a corpus. ``id`` is unique within its corpus; ``title`` may be empty."""

    id: str
    title: str
    text: str

    @property
    def full_text(self) -> str:
        """Title and text joined by one space, as BEIR evaluations encode it."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """A query. ``id`` is unique within its task."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How relevant a passage is for a query: 0 is not relevant, higher is better."""

    query_id: str
    passage_id: str
    grade: int


@dataclass(frozen=True, slots=True)
class Triple:
    """A training query with the ids of its positive passages and of its hard negatives, best first."""

    query_id: str
    positive_ids: tuple[str, ...]
    negative_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """An in-context example as it stands in a prompt: a query and one passage that answers it."""

    query: str
    passage: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One line of a ranking: higher ``score`` is better."""

    query_id: str
    passage_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input row that was left out, and why. ``where`` is ``file:line`` or a row id."""

    id: str
    where: str
    reason: str
