"""SQuAD's layout (arXiv:1606.05250), in which XQuAD (arXiv:1910.11856) came too: which paragraph answers a question?

Answers inside the paragraphs are not read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

from descant.core.errors import DataError
from descant.core.records import Passage, Query, Rejected
from descant.data.answered import AnsweredQueries
from descant.data.rows import Row, non_empty, passage_or_rejected, query_or_rejected
from descant.data.splits import Split, SplitFiles


class Squad(SplitFiles, AnsweredQueries):
    """One JSON file for each split: articles of paragraphs, each with its questions. A file is read whole."""

    kind: Literal["squad"] = "squad"

    def passages(self) -> Iterator[Passage | Rejected]:
        """The paragraphs without titles: these are in English in every language of XQuAD."""
        for split in self.splits():
            for passage_id, paragraph in self._paragraphs(split):
                text = paragraph.text("context").removeprefix("\ufeff")
                yield passage_or_rejected(paragraph, Passage(passage_id, "", text))

    def answered(self, split: str) -> Iterator[tuple[Query, str] | Rejected]:
        """The questions, each with the paragraph that it stands at."""
        for passage_id, paragraph in self._paragraphs(split):
            for row in paragraph.records("qas"):
                query = query_or_rejected(row, Query(row.identifier("id"), row.text("question").strip()))
                yield query if isinstance(query, Rejected) else (query, passage_id)

    def _paragraphs(self, split: str) -> Iterator[tuple[str, Row]]:
        """Each paragraph with the id of its passage: split, article and place in it."""
        path = self.path_of(cast("Split", split))
        articles = Row(path, 1, _parsed(path)).records("data")
        found = (
            (f"{split}-{number}-{place}", paragraph)
            for number, article in enumerate(articles)
            for place, paragraph in enumerate(article.records("paragraphs"))
        )
        return non_empty(path, found)


def _parsed(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise DataError(
            "E-DATA-JSON",
            str(path),
            f"is no JSON: {error}",
            "Nothing was kept. Check that the file is complete.",
        ) from None
    return found if isinstance(found, dict) else {}
