"""SQuAD's layout (arXiv:1606.05250), in which XQuAD (arXiv:1910.11856) came too: which paragraph answers a question?

Answers inside the paragraphs are not read.
"""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Literal, cast

from descant.core.errors import DataError
from descant.core.records import Passage, Query, Rejected
from descant.data.answered import AnsweredQueries
from descant.data.lines import opened
from descant.data.rows import Row, is_storable, non_empty, passage_or_rejected, query_or_rejected
from descant.data.splits import Split, SplitFiles


class Squad(SplitFiles, AnsweredQueries):
    """One JSON file for each split: articles of paragraphs, each with its questions. A file is read whole."""

    kind: Literal["squad"] = "squad"

    def passages(self) -> Iterator[Passage | Rejected]:
        """The paragraphs without titles: these are in English in every language of XQuAD."""
        for split in self.splits():
            for passage_id, paragraph in self._paragraphs(split):
                text = paragraph.text("context").removeprefix("\ufeff")
                if is_storable(text):
                    yield passage_or_rejected(paragraph, Passage(passage_id, "", text))
                else:
                    yield paragraph.rejected(passage_id, "invalid_unicode")

    def answered(self, split: str) -> Iterator[tuple[Query, str] | Rejected]:
        """The questions, each with the paragraph that it stands at; left out as ``no_answer`` where none is in it."""
        for passage_id, paragraph in self._paragraphs(split):
            for row in paragraph.records("qas"):
                question = _question(row)
                yield question if isinstance(question, Rejected) else (question, passage_id)

    def _paragraphs(self, split: str) -> Iterator[tuple[str, Row]]:
        """Each paragraph with the id of its passage: split, article and place in it. Their number is their line."""
        path = self.path_of(cast("Split", split))
        numbers = count(1)
        found = (
            (f"{split}-{number}-{place}", Row(path, next(numbers), paragraph.values))
            for number, article in enumerate(Row(path, 1, _parsed(path)).records("data"))
            for place, paragraph in enumerate(article.records("paragraphs"))
        )
        return non_empty(path, found)


def _question(row: Row) -> Query | Rejected:
    query = Query(row.identifier("id"), row.text("question").strip())
    if row.values.get("is_impossible"):
        return row.rejected(query.id, "no_answer")
    if not is_storable(query.text):
        return row.rejected(query.id, "invalid_unicode")
    return query_or_rejected(row, query)


def _parsed(path: Path) -> dict[str, object]:
    try:
        with opened(path) as stream:
            found = json.loads(stream.read().decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(
            "E-DATA-JSON",
            str(path),
            f"is no JSON: {error}",
            "Nothing was kept. Check that the file is complete.",
        ) from None
    return found if isinstance(found, dict) else {}
