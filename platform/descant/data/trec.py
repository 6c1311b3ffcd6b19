"""Rankings and judgements in trec_eval's plain formats, and per-query scores as a table."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from descant.core.errors import DataError, NumericsError
from descant.core.records import Hit, Judgement, Rejected
from descant.data.lines import text_lines
from descant.data.rows import identifier, non_empty


def write_run(path: Path, hits: Iterable[Hit], *, tag: str = "descant") -> None:
    """Write ``query Q0 passage rank score tag`` lines; ranks count each query's hits from 1, as given.

    Scores are written so that reading gives the same float64. Raises NumericsError for NaN or infinity,
    DataError for an id or a tag that the format cannot carry.
    """
    identifier(tag, str(path), "tag")
    ranks: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for hit in hits:
            ranks[hit.query_id] += 1
            identifier(hit.query_id, str(path), "query id")
            identifier(hit.passage_id, str(path), "passage id")
            score = _finite(float(hit.score), hit.query_id, str(path))
            stream.write(f"{hit.query_id} Q0 {hit.passage_id} {ranks[hit.query_id]} {score!r} {tag}\n")


def read_run(path: Path) -> Iterator[Hit]:
    """The hits of a TREC run (six columns) or of ``query passage score`` (three), in file order.

    Raises NumericsError for NaN or infinity, with the query's id; DataError for a damaged line, other
    columns, a score that is not a number or a file without hits.
    """
    return non_empty(path, _hits(path))


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write TREC qrels: ``query 0 passage grade`` lines."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for judgement in judgements:
            identifier(judgement.query_id, str(path), "query id")
            identifier(judgement.passage_id, str(path), "passage id")
            stream.write(f"{judgement.query_id} 0 {judgement.passage_id} {judgement.grade}\n")


def write_scores(path: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Write ``{query id: {measure: value}}`` tab-separated: a header, then one line per query, sorted.

    Every query has the same measures. Raises NumericsError for NaN or infinity, with the query's id.
    """
    measures = sorted(next(iter(scores.values()), {}))
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("\t".join(["query_id", *measures]) + "\n")
        for query_id in sorted(scores):
            values = [_finite(float(scores[query_id][measure]), query_id, str(path)) for measure in measures]
            stream.write("\t".join([query_id, *map(repr, values)]) + "\n")


def _hits(path: Path) -> Iterator[Hit]:
    for line in text_lines(path):
        if isinstance(line, Rejected):
            raise _run_error(f"{path.parent / line.where}", f"the line cannot be read ({line.reason})")
        fields = line[1].split()
        if fields:
            yield _hit(fields, f"{path}:{line[0]}")


def _hit(fields: list[str], where: str) -> Hit:
    if len(fields) not in (3, 6):
        raise _run_error(
            where, f"found {len(fields)} columns, expected 6 (query Q0 passage rank score tag) or 3"
        )
    query_id, passage_id, score = (fields[0], fields[2], fields[4]) if len(fields) == 6 else fields
    try:
        return Hit(query_id, passage_id, _finite(float(score), query_id, where))
    except ValueError:
        raise _run_error(where, f"score {score!r} is not a number") from None


def _finite(score: float, query_id: str, where: str) -> float:
    if not math.isfinite(score):
        raise NumericsError(
            "E-RUN-NONFINITE",
            where,
            f"query {query_id}: score {score}, expected a finite number",
            "Nothing was scored. Find what made it: a zero vector, an overflow, a damaged file.",
        )
    return score


def _run_error(where: str, problem: str) -> DataError:
    return DataError("E-RUN-LINE", where, problem, "Nothing was scored. Correct the file.")
