"""Read an outside data set once into parts: passages, queries, judgements per split, and training triples.

Rows that cannot be used are quarantined with their reason; identical duplicates are dropped and counted; everything a
later reader should know about the data (training queries that are also test queries, judged passages and queries that
do not exist) is counted here and kept in the manifest.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from descant.artifacts.store import Artifact
from descant.artifacts.tables import Record, publish_table, read_table, record_table, records
from descant.core.chunks import chunks
from descant.core.errors import DataError
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.data import AnyRetrievalSource, RowCheck
from descant.data.rejects import separated
from descant.stages.base import Outcome, Stage, StageContext

T = TypeVar("T")

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SAID = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}


class Fetch(Stage):
    """Bring a retrieval data set into the store."""

    name: ClassVar[str] = "fetch"

    source: AnyRetrievalSource
    """Where the data comes from; its files enter the fingerprint by their sha256."""
    passages_per_part: int = Field(512, ge=1, le=1_000_000)
    """Passages in one part: what is embedded, and lost on a kill, at a time."""
    validation_queries: int = Field(0, ge=0)
    """So many training queries are set apart as a split ``validation``, the same on every machine."""
    strict: bool = False
    """Refuse data whose training queries reappear in the test split, instead of reporting them."""

    def identity(self) -> Mapping[str, Any]:
        """Without what is not asked for: data without a validation split keep their address."""
        values = dict(super().identity())
        if not self.validation_queries:
            del values["validation_queries"]
        return values

    def check(self, compute: Compute) -> None:
        """Raise when the files are not there or not of the declared form."""
        self.source.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``passages-*``, ``queries``, ``judgements-<split>`` and ``triples``."""
        names: list[str] = []
        facts: dict[str, Any] = {}

        def put(kind: type[Record], rows: Iterable[Record | Rejected], name: str) -> list[Record]:
            kept, rejected = separated(rows)
            table = record_table(kind, kept)
            publish_table(context.folder, name, table, rejected=rejected)
            names.append(name)
            return kept

        asked: dict[str, set[str]] = {}
        unseen: dict[str, set[str]] = {}
        set_apart = self._validation_ids()
        for split, stream_of_split in self._judgements(set_apart):
            judged = put(Judgement, stream_of_split, f"judgements-{split}")
            facts[f"judgements_{split}"] = len(judged)
            asked[split] = {judgement.query_id for judgement in judged}
            unseen[split] = {judgement.passage_id for judgement in judged}
        num_passages = 0
        passages = RowCheck("passages")
        stream = passages.unique(self.source.passages())
        for number, chunk in enumerate(chunks(stream, self.passages_per_part)):
            kept = put(Passage, chunk, f"passages-{number:05d}")
            ids = {passage.id for passage in kept}
            for judged_ids in unseen.values():
                judged_ids -= ids
            num_passages += len(kept)
            context.progress(num_passages, num_passages, "passages")
        passages.finish()
        queries = RowCheck("queries")
        texts = {
            query.id: query.text for query in put(Query, queries.unique(self.source.queries()), "queries")
        }
        queries.finish()
        for split, judged_ids in unseen.items():
            facts[f"judged_passages_missing_{split}"] = len(judged_ids)
            facts[f"judged_passages_missing_{split}_first"] = sorted(judged_ids)[:20]
            without_text = asked[split] - set(texts)
            facts[f"judged_queries_missing_{split}"] = len(without_text)
            facts[f"judged_queries_missing_{split}_first"] = sorted(without_text)[:20]
        triples = (
            row for row in self.source.triples() if isinstance(row, Rejected) or row.query_id not in set_apart
        )
        facts["triples"] = len(put(Triple, triples, "triples"))
        facts |= {"passages": num_passages, "queries": len(texts), "splits": list(asked)}
        facts["duplicates_dropped"] = passages.duplicates + queries.duplicates
        facts |= self._leakage(asked, texts)
        return Outcome(names, facts)

    def _validation_ids(self) -> frozenset[str]:
        """The training queries whose hashes are smallest: a smaller validation split is part of a larger one."""
        if not self.validation_queries:
            return frozenset()
        judged = self.source.judgements(TRAIN)
        ids = {row.query_id for row in judged if isinstance(row, Judgement)}
        if len(ids) <= self.validation_queries:
            raise DataError(
                "E-DATA-FEW",
                TRAIN,
                f"{len(ids)} judged queries, and validation_queries takes {self.validation_queries} of them",
                "Nothing was fetched. Lower validation_queries.",
            )
        return frozenset(
            sorted(ids, key=lambda i: (seed_for(0, "validation", i), i))[: self.validation_queries]
        )

    def _judgements(self, set_apart: frozenset[str]) -> Iterator[tuple[str, Iterator[Judgement | Rejected]]]:
        """The judgements of each split, training without what is set apart and that as a split of its own."""
        if set_apart and VALIDATION in self.source.splits():
            raise DataError(
                "E-DATA-SPLIT",
                VALIDATION,
                "is a split of the data already",
                "Nothing was fetched. Leave validation_queries out.",
            )

        def is_set_apart(row: Judgement | Rejected) -> bool:
            return isinstance(row, Judgement) and row.query_id in set_apart

        for split in self.source.splits():
            if split != TRAIN or not set_apart:
                yield split, self.source.judgements(split)
                continue
            yield split, (row for row in self.source.judgements(split) if not is_set_apart(row))
            yield VALIDATION, (row for row in self.source.judgements(split) if is_set_apart(row))

    def _leakage(self, asked: dict[str, set[str]], texts: dict[str, str]) -> dict[str, Any]:
        """Queries of one split that are also queries of another, by id or by text."""
        facts: dict[str, Any] = {}
        for one, other in ((TRAIN, TEST), (TRAIN, VALIDATION), (VALIDATION, TEST)):
            if VALIDATION in (one, other) and VALIDATION not in asked:
                continue
            ids = asked.get(other, set())
            folded = {_folded(texts[i]) for i in ids if i in texts}
            shared = sorted(
                i for i in asked.get(one, set()) if i in ids or _folded(texts.get(i, "")) in folded
            )
            if shared and self.strict:
                raise DataError(
                    "E-DATA-LEAK",
                    f"{one}/{other}",
                    f"{len(shared)} {_SAID[one]} queries are also {_SAID[other]} queries: {', '.join(shared[:10])}",
                    f"Nothing was trained. Remove them from the {_SAID[one]} split, or set strict: false to report "
                    "them.",
                )
            facts |= {
                f"{one}_queries_in_{other}": len(shared),
                f"{one}_queries_in_{other}_first": shared[:20],
            }
        return facts


def passages_of(data: Artifact, name: str) -> list[Passage]:
    """The passages of one part."""
    return list(records(Passage, read_table(data.path(name))))


def queries_of(data: Artifact) -> dict[str, Query]:
    """All queries by id."""
    return {query.id: query for query in records(Query, read_table(data.path("queries")))}


def judgements_of(data: Artifact, split: str) -> dict[str, dict[str, int]]:
    """``{query id: {passage id: grade}}`` of a split."""
    judged: dict[str, dict[str, int]] = {}
    for judgement in records(Judgement, read_table(data.path(f"judgements-{split}"))):
        judged.setdefault(judgement.query_id, {})[judgement.passage_id] = judgement.grade
    return judged


def triples_of(data: Artifact) -> list[Triple]:
    """The training rows."""
    return list(records(Triple, read_table(data.path("triples"))))


def passages_by_id(data: Artifact, wanted: set[str]) -> dict[str, Passage]:
    """Those passages whose ids are ``wanted``, read part by part."""
    found: dict[str, Passage] = {}
    for name in data.names("passages-"):
        found.update((p.id, p) for p in passages_of(data, name) if p.id in wanted)
    return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
