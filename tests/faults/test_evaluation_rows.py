"""Rows 51 to 53 of the fault table: judgements without their passages, positives among negatives, leakage.

Rows 54 to 57 are numbers: see ``tests/data/test_qrels.py`` and ``tests/evaluators/test_ranking.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import read_table, record_table, write_table
from descant.core.errors import DataError
from descant.core.records import Passage, Query, Triple
from descant.models.encoder import EncoderSpec
from descant.stages.base import StageContext, silent
from descant.stages.pair_examples import PairExamples
from descant.testing.history import check_history
from tests.faults.command import assert_refused, descant
from tests.faults.test_data_rows import fetch
from tests.faults.tiny_job import RECIPE, query, sentence, write_data, write_job, write_lines, write_qrels

ENCODER = EncoderSpec.model_validate({"model": {"kind": "tiny"}, "pooling": "mean", "max_query_tokens": 64})


def paired(data: Artifact, folder: Path, **settings: Any) -> Artifact:
    """The training rows over a fetched data set."""
    stage = PairExamples(encoder=ENCODER, task="tiny", seed=1, **settings)
    store = Store(folder / "store")
    with store.draft("pair_examples", 1, "0123456789ab", "pairs", stage, {"data": data.address}) as draft:
        outcome = stage.run(StageContext(draft, {"data": data}, stage.compute_class(), silent))
        return draft.finish(outcome.names, outcome.facts)


def rows_of(pairs: Artifact) -> list[dict[str, Any]]:
    return read_table(pairs.path("rows")).to_pylist()


def without_passages(folder: Path, *numbers: int) -> None:
    path = folder / "corpus.jsonl"
    gone = tuple(f'{{"_id": "p{number}",' for number in numbers)
    path.write_text("".join(line for line in path.open() if not line.startswith(gone)))


def test_judged_passages_that_are_missing_are_counted_and_named_for_each_split(tmp_path: Path) -> None:
    without_passages(write_data(tmp_path / "data"), 3, 5, 15)
    facts = fetch(tmp_path).manifest.facts
    assert (facts["judged_passages_missing_train"], facts["judged_passages_missing_train_first"]) == (
        2,
        ["p3", "p5"],
    )
    assert (facts["judged_passages_missing_test"], facts["judged_passages_missing_test_first"]) == (
        1,
        ["p15"],
    )


def test_judged_queries_that_are_missing_are_counted_and_named_for_each_split(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    write_lines(data / "queries.jsonl", [query(i) for i in range(20) if i not in (2, 13, 14)])
    facts = fetch(tmp_path).manifest.facts
    assert (facts["judged_queries_missing_train"], facts["judged_queries_missing_train_first"]) == (1, ["q2"])
    assert (facts["judged_queries_missing_test"], facts["judged_queries_missing_test_first"]) == (
        2,
        ["q13", "q14"],
    )


def test_query_whose_only_positive_is_missing_is_rejected_by_name_and_one_with_another_stays(
    tmp_path: Path,
) -> None:
    data = write_data(tmp_path / "data")
    judged = [*((f"q{i}", f"p{i}", 1) for i in range(12)), ("q5", "p40", 1)]
    write_qrels(data / "qrels/train.tsv", judged)
    without_passages(data, 3, 5)
    pairs = paired(fetch(tmp_path), tmp_path)
    assert [(row.id, row.reason) for row in pairs.manifest.rejected] == [("q3", "positive_missing")]
    assert {row["id"]: row["positive_id"] for row in rows_of(pairs)}["q5"] == "p40"
    check_history(
        Store(tmp_path / "store"),
        "pair_examples",
        pairs.manifest.fingerprint,
        input_ids=[f"q{i}" for i in range(12)],
        committed_ids=[row["id"] for row in rows_of(pairs)],
    )


def test_no_positive_left_at_all_is_refused(tmp_path: Path) -> None:
    without_passages(write_data(tmp_path / "data"), *range(12))
    with pytest.raises(DataError, match="no training row is left") as caught:
        paired(fetch(tmp_path), tmp_path)
    assert caught.value.code == "E-PAIR-EMPTY"


@pytest.fixture(scope="module")
def hostile(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Passage], dict[str, Triple], Artifact]:
    """1,000 queries whose negatives hold their positives by id, by text, and passages that do not exist."""
    generator = np.random.default_rng(52)
    texts = [sentence(i) for i in range(25)]
    passages = [Passage(f"p{i}", "", texts[int(generator.integers(len(texts)))]) for i in range(80)]
    ids = [*(p.id for p in passages), "missing-1", "missing-2"]
    queries = [Query(f"q{i}", f"what {sentence(i)}") for i in range(1000)]

    def drawn(low: int, high: int) -> tuple[str, ...]:
        size = int(generator.integers(low, high))
        return tuple(ids[i] for i in generator.choice(len(ids), size, replace=False))

    triples = [Triple(q.id, drawn(1, 4), drawn(0, 12)) for q in queries]
    store = Store(tmp_path_factory.mktemp("hostile") / "store")
    tables = {"passages-00000": record_table(Passage, passages), "queries": record_table(Query, queries)}
    tables["triples"] = record_table(Triple, triples)
    with store.draft("fetch", 1, "0123456789ab", "fetch", {}, {}) as draft:
        for name, table in tables.items():
            _publish(draft.folder, name, table)
        data = draft.finish(tables, {})
    pairs = paired(data, store.root.parent, num_negatives=1)
    return {p.id: p for p in passages}, {t.query_id: t for t in triples}, pairs


Hostile = tuple[dict[str, Passage], dict[str, Triple], Artifact]


def test_positives_are_never_among_negatives_by_id_or_by_text(hostile: Hostile) -> None:
    passages, triples, pairs = hostile
    rows = rows_of(pairs)
    assert len(rows) > 500
    for row in rows:
        positives = set(triples[row["id"]].positive_ids)
        assert row["positive_id"] in positives
        assert not positives & set(row["negative_ids"])
        relevant = {passages[i].text for i in positives if i in passages}
        assert not relevant & {passages[i].text for i in row["negative_ids"]}
        assert row["positive"] not in row["negatives"]


def test_negatives_are_all_that_may_be_in_their_order(hostile: Hostile) -> None:
    passages, triples, pairs = hostile
    for row in rows_of(pairs):
        triple = triples[row["id"]]
        relevant = {passages[i].text for i in triple.positive_ids if i in passages}
        expected = []
        for i in triple.negative_ids:
            if i not in passages or i in triple.positive_ids:
                continue
            if passages[i].text not in relevant:
                expected.append(i)
        assert row["negative_ids"] == expected


def test_every_query_is_a_row_or_rejected_with_its_reason(hostile: Hostile) -> None:
    _, triples, pairs = hostile
    kept, rejected = [row["id"] for row in rows_of(pairs)], [row.id for row in pairs.manifest.rejected]
    assert sorted([*kept, *rejected]) == sorted(triples)
    assert {row.reason.split(" (")[0] for row in pairs.manifest.rejected} == {
        "positive_missing",
        "negatives_missing",
    }


def leaking(folder: Path) -> None:
    """Ten evaluation queries also in training: five by id, five by a text that differs in case and spaces only."""
    data = write_data(folder / "data", train=12, test=20)
    rows = [query(i) for i in range(32)]
    for i in range(5):
        rows[i]["text"] = rows[17 + i]["text"].upper().replace(" ", "  ")
    write_lines(data / "queries.jsonl", rows)
    write_qrels(data / "qrels/train.tsv", [(f"q{i}", f"p{i}", 1) for i in (*range(17),)])


LEAKED = [f"q{i}" for i in (0, 1, 12, 13, 14, 15, 16, 2, 3, 4)]


def test_leakage_is_counted_and_listed_in_the_facts(tmp_path: Path) -> None:
    leaking(tmp_path)
    facts = fetch(tmp_path).manifest.facts
    assert (facts["train_queries_in_test"], facts["train_queries_in_test_first"]) == (10, LEAKED)


def test_leakage_under_strict_is_refused_with_the_list(tmp_path: Path) -> None:
    leaking(tmp_path)
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, strict=True)
    assert (caught.value.code, caught.value.exit_code) == ("E-DATA-LEAK", 3)
    assert f"10 training queries are also test queries: {', '.join(LEAKED)}" in str(caught.value)
    assert list(Store(tmp_path / "store").all()) == []


@pytest.mark.ray
def test_leakage_under_strict_ends_the_run_with_exit_3_wherever_temporary_files_lie(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20)  # Ray's sockets do not fit below it
    leaking(home)
    ended = descant(home, "run", *write_job(home, RECIPE + "strict: true\n"))
    assert_refused(ended, 3, "E-DATA-LEAK", "train/test", "10 training queries", "Nothing was trained")


def _publish(folder: Path, name: str, table: pa.Table) -> None:
    publish(folder, name, lambda path: write_table(table, path), rows=len(table), suffix=".parquet")
