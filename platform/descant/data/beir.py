"""BEIR folders (arXiv:2104.08663): ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/{split}.tsv``; gzip
too."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from descant.core.errors import ConfigError, DataError
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data.pinned import expanded
from descant.data.qrels import read_judgements
from descant.data.rows import Row, json_rows, passage_or_rejected, query_or_rejected
from descant.data.source import RetrievalSource
from descant.data.unique import unique

SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Part of a file name, so it can lead nowhere else."""


class Beir(RetrievalSource):
    """A corpus, its queries and graded judgements, in one folder."""

    has_negatives: ClassVar[bool] = False

    kind: Literal["beir"] = "beir"
    path: str
    """The folder; may start with ``${DESCANT_DATA}``."""
    train_split: SplitName | None = "train"
    """Name of the judgements that make training rows; null if the folder has none."""
    test_split: SplitName | None = "test"
    """Name of the judgements to evaluate on; null if the folder has none."""

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if self.train_split is not None and self.train_split == self.test_split:
            raise ValueError(
                f"train_split and test_split are both '{self.train_split}'; set one of them to null"
            )
        return self

    def named_files(self) -> Mapping[str, Path]:
        """The corpus, the queries and one judgement file per split, by their path within the folder."""
        names = ("corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in self.splits()))
        paths = [self._existing(name) for name in names]
        return {path.relative_to(expanded(self.path)).as_posix(): path for path in paths}

    def splits(self) -> tuple[str, ...]:
        """The training and the test split, without those that are null."""
        return tuple(split for split in (self.train_split, self.test_split) if split is not None)

    def passages(self) -> Iterator[Passage | Rejected]:
        """``_id``, ``title`` (may be missing) and ``text`` of each line; other columns are ignored."""
        return unique(json_rows(self._existing("corpus.jsonl")), _passage)

    def queries(self) -> Iterator[Query | Rejected]:
        """``_id`` and ``text`` of each line; other columns are ignored."""
        return unique(json_rows(self._existing("queries.jsonl")), _query)

    def judgements(self, split: str) -> Iterator[Judgement | Rejected]:
        """The lines of ``qrels/{split}.tsv``."""
        self._require_split(split)
        return read_judgements(self._existing(f"qrels/{split}.tsv"))

    def triples(self) -> Iterator[Triple | Rejected]:
        """Each training query with its relevant passages (grade above 0), best first, and no negatives.

        Judgements that were left out come out of ``judgements`` only.
        """
        grades: dict[str, list[tuple[int, str]]] = {}
        for judgement in self.judgements(self.train_split) if self.train_split is not None else ():
            if not isinstance(judgement, Rejected) and judgement.grade > 0:
                grades.setdefault(judgement.query_id, []).append((-judgement.grade, judgement.passage_id))
        for query_id, graded in grades.items():
            best_first = sorted(graded, key=lambda pair: pair[0])
            yield Triple(query_id, tuple(passage_id for _, passage_id in best_first), ())

    def require_files(self) -> None:
        """Raise ConfigError for an empty folder and for a missing file."""
        folder = expanded(self.path)
        if folder.is_dir() and next(folder.iterdir(), None) is None:
            raise DataError(
                "E-DATA-EMPTY",
                str(folder),
                "0 rows, the folder is empty",
                "Nothing was started. Check the path.",
            )
        super().require_files()

    def _existing(self, name: str) -> Path:
        """The plain file or its gzip twin; with neither, the plain name for the message."""
        plain = expanded(self.path) / name
        packed = plain.with_name(plain.name + ".gz")
        if plain.is_file() and packed.is_file():
            raise ConfigError(
                "E-SRC-PATH", str(plain), "stands there plain and as .gz", "Remove one of them."
            )
        return packed if packed.is_file() else plain


def _passage(row: Row) -> Passage | Rejected:
    return passage_or_rejected(
        row, Passage(row.identifier("_id"), row.optional_text("title"), row.text("text"))
    )


def _query(row: Row) -> Query | Rejected:
    return query_or_rejected(row, Query(row.identifier("_id"), row.text("text")))
