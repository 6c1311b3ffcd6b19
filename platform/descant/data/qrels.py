"""Relevance judgements ("qrels"): BEIR's three tab-separated columns or TREC's four.

Grades are kept as they are given. A grade of 0 or less means "not relevant" everywhere; trec_eval counts it
the same way. A query without a judgement is not judged: it enters no mean.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from descant.core.records import Judgement, Rejected
from descant.data.lines import rejected_line, text_lines
from descant.data.rows import Row, column_error, identifier, non_empty, tab_fields, type_error
from descant.data.unique import FirstSeen

_HEADER_NAMES = ("query-id", "query_id", "qid")
_GRADE = re.compile(r"-?[0-9]{1,9}")


def read_judgements(path: Path) -> Iterator[Judgement | Rejected]:
    """The judgements of a file, with or without header: query id, passage id, grade.

    An equal repetition is ``Rejected`` as ``duplicate``, a line with another number of columns as
    ``wrong_columns`` (on the first line: DataError). Raises DataError for two grades of one pair, for grades
    that are not integers, for ids that cannot be ids and for a file without judgements. The second of TREC's
    four columns is not used.
    """
    return non_empty(path, _judgements(path))


def unknown_passages(judgements: Iterable[Judgement], known_ids: Collection[str]) -> tuple[str, ...]:
    """The judged passage ids that are not among ``known_ids`` (a set), sorted."""
    return tuple(sorted({judgement.passage_id for judgement in judgements} - set(known_ids)))


def _judgements(path: Path) -> Iterator[Judgement | Rejected]:
    seen = FirstSeen()
    for line in text_lines(path):
        if isinstance(line, Rejected):
            yield line
            continue
        number, text = line
        fields = tab_fields(text) if "\t" in text else text.split()
        if not fields or (number == 1 and fields[0].lower() in _HEADER_NAMES):
            continue
        yield _judgement(Row(path, number, {}), fields, seen)
    seen.refuse_conflicts()


def _judgement(row: Row, fields: list[str], seen: FirstSeen) -> Judgement | Rejected:
    if len(fields) not in (3, 4):
        if row.line == 1:
            raise column_error(
                row.where, f"found {len(fields)} columns, expected 3: query-id, corpus-id, score"
            )
        return rejected_line(row.path, row.line, "wrong_columns")
    query_id, passage_id, grade = fields[0], fields[-2], fields[-1]
    identifier(query_id, row.where, "query-id")
    identifier(passage_id, row.where, "corpus-id")
    if not _GRADE.fullmatch(grade):
        raise type_error(row.where, "score", grade, "integer", f" ({grade[:40]!r})")
    if seen.add(row, f"{query_id} {passage_id}", grade):
        return Judgement(query_id, passage_id, int(grade))
    return row.rejected(f"{query_id} {passage_id}", "duplicate")
