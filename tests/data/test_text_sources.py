"""Training files that carry texts: each layout, one behaviour."""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from descant.core.errors import ConfigError, DataError, PolicyError
from descant.core.fingerprint import fingerprint
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data import RETRIEVAL_SOURCES, AnyRetrievalSource
from descant.data.columns import Columns
from descant.data.flagembedding import FlagEmbedding
from descant.data.msmarco import MsMarcoTriples
from descant.data.source import RetrievalSource
from descant.data.tevatron import Tevatron, TevatronTexts


def _jsonl(path: Path, rows: Iterable[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _query_id(text: str) -> str:
    return "q-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _passage_id(text: str) -> str:
    return "p-" + hashlib.sha256(f"\x1f{text}".encode()).hexdigest()[:16]


def _triple(query: str, positives: list[str], negatives: list[str]) -> Triple:
    return Triple(_query_id(query), tuple(map(_passage_id, positives)), tuple(map(_passage_id, negatives)))


ROWS = [("q?", "yes", "no"), ("r?", "aye", "no"), ("q?", "yes", "never")]
EXPECTED = [_triple("q?", ["yes"], ["no", "never"]), _triple("r?", ["aye"], ["no"])]


def _msmarco(folder: Path) -> RetrievalSource:
    path = folder / "triples.tsv.gz"
    path.write_bytes(gzip.compress("".join("\t".join(row) + "\n" for row in ROWS).encode()))
    return MsMarcoTriples(path=str(path))


def _flagembedding(folder: Path) -> RetrievalSource:
    extra = {"prompt": "Represent", "type": "normal", "pos_scores": [1.0], "neg_scores": [0.5]}
    rows = [{"query": q, "pos": [p], "neg": [n], **extra} for q, p, n in ROWS]
    return FlagEmbedding(path=_jsonl(folder / "fe.jsonl", rows))


def _columns_jsonl(folder: Path) -> RetrievalSource:
    rows = [{"sentence_A": q, "b": p, "c": n} for q, p, n in ROWS]
    return Columns(path=_jsonl(folder / "st.jsonl", rows), format="jsonl")


def _columns_tsv(folder: Path) -> RetrievalSource:
    (folder / "st.tsv").write_text(
        "anchor\tpositive\tnegative\n" + "".join("\t".join(row) + "\n" for row in ROWS)
    )
    return Columns(path=str(folder / "st.tsv"), format="tsv")


def _columns_csv(folder: Path) -> RetrievalSource:
    with (folder / "st.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("anchor", "positive", "negative"), *ROWS])
    return Columns(path=str(folder / "st.csv"), format="csv")


def _columns_parquet(folder: Path) -> RetrievalSource:
    columns = dict(zip(("anchor", "positive", "negative"), map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "st.parquet")
    return Columns(path=str(folder / "st.parquet"), format="parquet")


LAYOUTS = [_msmarco, _flagembedding, _columns_jsonl, _columns_tsv, _columns_csv, _columns_parquet]


@pytest.mark.parametrize("written", LAYOUTS)
def test_text_source_layouts_of_the_same_rows_read_the_same(tmp_path: Path, written: Any) -> None:
    source = written(tmp_path)
    source.check()
    assert list(source.triples()) == EXPECTED
    assert list(source.queries()) == [Query(_query_id("q?"), "q?"), Query(_query_id("r?"), "r?")]
    texts = ["yes", "no", "aye", "never"]
    assert list(source.passages()) == [Passage(_passage_id(text), "", text) for text in texts]
    assert source.splits() == ("train",)
    assert list(source.judgements("train")) == [
        Judgement(_query_id("q?"), _passage_id("yes"), 1),
        Judgement(_query_id("r?"), _passage_id("aye"), 1),
    ]


@pytest.mark.parametrize("written", LAYOUTS)
def test_text_source_identity_holds_no_path(tmp_path: Path, written: Any) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    assert "/" not in repr(first.identity())
    assert first.identity()["kind"] == first.kind
    if written is not _msmarco:
        assert fingerprint(first) == fingerprint(second)


def test_text_source_check_reads_no_further_than_the_first_row(tmp_path: Path) -> None:
    rows = [{"query": "q", "pos": ["a"]}, {"query": "r", "pos": 5}]
    source = FlagEmbedding(path=_jsonl(tmp_path / "fe.jsonl", rows))
    source.check()
    with pytest.raises(DataError):
        list(source.queries())


def test_text_source_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        FlagEmbedding(path=str(tmp_path / "absent.jsonl")).check()


def test_text_source_test_split_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: train"):
        list(_flagembedding(tmp_path).judgements("test"))


def test_text_source_positive_of_one_row_is_never_a_negative_of_another(tmp_path: Path) -> None:
    rows = [{"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "q", "pos": ["b"], "neg": ["c", "a", "c"]}]
    source = FlagEmbedding(path=_jsonl(tmp_path / "fe.jsonl", rows))
    assert list(source.triples()) == [_triple("q", ["a", "b"], ["c"])]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"query": " ", "pos": ["a"], "neg": []}, "empty_text"),
        ({"query": "q", "pos": ["a", ""], "neg": []}, "empty_text"),
        ({"query": "q", "pos": ["a"], "neg": ["\n"]}, "empty_text"),
        ({"query": "q", "pos": [], "neg": ["b"]}, "no_positive"),
    ],
)
def test_text_source_unusable_row_is_rejected_once(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    source = FlagEmbedding(path=_jsonl(tmp_path / "fe.jsonl", [{"query": "ok", "pos": ["p"]}, row]))
    rejected = [item for item in source.passages() if isinstance(item, Rejected)]
    assert [(item.where, item.reason) for item in rejected] == [("fe.jsonl:2", reason)]
    assert list(source.triples()) == [_triple("ok", ["p"], [])]
    assert len(list(source.queries())) == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"query": "q", "pos": "a"}, "column 'pos': found string, expected list"),
        ({"query": "q", "positive": ["a"]}, "column 'pos' is missing, found: query, positive"),
        ({"query": 5, "pos": ["a"]}, "column 'query': found integer, expected string"),
    ],
)
def test_flagembedding_check_other_columns_raise_from_the_first_row(
    tmp_path: Path, row: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError) as raised:
        FlagEmbedding(path=_jsonl(tmp_path / "fe.jsonl", [row])).check()
    assert f"fe.jsonl:1: {problem}" in str(raised.value)


def test_columns_absent_negatives_are_no_negatives(tmp_path: Path) -> None:
    rows = [
        {"a": "q", "p": "x", "n1": "y", "n2": None},
        {"a": "r", "p": "x", "n1": None, "n2": None},
        {"a": "s", "p": "x", "n2": "z"},
    ]
    source = Columns(path=_jsonl(tmp_path / "st.jsonl", rows), format="jsonl")
    assert list(source.triples()) == [
        _triple("q", ["x"], ["y"]),
        _triple("r", ["x"], []),
        _triple("s", ["x"], ["z"]),
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"a": "q"}], "found 1 columns (a), expected anchor, positive"),
        ([{"a": "q", "p": "x"}, {"a": "q"}], "st.jsonl:2: column 'p' is missing"),
        (
            [{"a": "q", "p": "x"}, {"a": "q", "p": "x", "z": "y"}],
            "st.jsonl:2: column 'z' is not in the first row: a, p",
        ),
        ([{"a": "q", "p": "x", "label": 1}], "column 'label': found integer, expected string"),
    ],
)
def test_columns_drifting_or_unfit_columns_raise(
    tmp_path: Path, rows: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(DataError) as raised:
        list(Columns(path=_jsonl(tmp_path / "st.jsonl", rows), format="jsonl").triples())
    assert problem in str(raised.value)


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_columns_header_alone_says_0_rows(tmp_path: Path, format: Any) -> None:
    (tmp_path / "st").write_text("anchor,positive\n")
    with pytest.raises(DataError, match="0 rows"):
        Columns(path=str(tmp_path / "st"), format=format).check()


def test_columns_csv_row_with_other_field_count_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "st.csv").write_text("a,p\nq,x\nq\n")
    rows = list(Columns(path=str(tmp_path / "st.csv"), format="csv").passages())
    assert rows[-1] == Rejected("st.csv:3", "st.csv:3", "wrong_columns")


@pytest.mark.parametrize("data", [b"a,p\nq,\xff\n", b'a,p\nq,"open\n', b'a,p\nq,"x"y\n'])
def test_columns_damaged_csv_raises_with_its_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "st.csv").write_bytes(data)
    with pytest.raises(DataError) as raised:
        list(Columns(path=str(tmp_path / "st.csv"), format="csv").triples())
    assert raised.value.code == "E-DATA-CSV"
    assert "st.csv:2" in str(raised.value)


_CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(
    lambda text: "." + text
)


@given(st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=10))
def test_columns_csv_texts_with_quotes_and_newlines_survive(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "st.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("anchor", "positive"), *rows])
    source = Columns(path=str(path), format="csv")
    assert [query.text for query in source.queries() if isinstance(query, Query)] == list(dict(rows))
    passages = [passage.text for passage in source.passages() if isinstance(passage, Passage)]
    assert passages == list(dict.fromkeys(text for _, text in rows))


def test_columns_csv_field_of_a_megabyte_is_read(tmp_path: Path) -> None:
    (tmp_path / "st.csv").write_text("a,p\nq," + "x" * 1_000_000 + "\n")
    passages = list(Columns(path=str(tmp_path / "st.csv"), format="csv").passages())
    assert [len(passage.text) for passage in passages if isinstance(passage, Passage)] == [1_000_000]


def test_columns_parquet_of_another_type_raises_with_both_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["q"], "score": [1.0]}), tmp_path / "st.parquet")
    with pytest.raises(DataError, match="column 'score': found double, expected string"):
        Columns(path=str(tmp_path / "st.parquet"), format="parquet").check()


def test_columns_parquet_extension_type_is_refused(tmp_path: Path) -> None:
    metadata = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": ""}
    fields = [pa.field("a", pa.string()), pa.field("obj", pa.binary(), metadata=metadata)]
    pq.write_table(pa.table({"a": ["q"], "obj": [b"x"]}, schema=pa.schema(fields)), tmp_path / "st.parquet")
    with pytest.raises(PolicyError, match=r"ray\.data\.arrow_pickled_object") as raised:
        Columns(path=str(tmp_path / "st.parquet"), format="parquet").check()
    assert "column 'obj'" in str(raised.value)
    assert raised.value.exit_code == 6


def test_columns_parquet_that_is_none_raises(tmp_path: Path) -> None:
    (tmp_path / "st.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match="not readable as Parquet"):
        Columns(path=str(tmp_path / "st.parquet"), format="parquet").check()


def test_columns_parquet_string_that_is_not_utf8_raises(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"a": ["q"], "p": bad}), tmp_path / "st.parquet")
    with pytest.raises(DataError, match="not readable as Parquet"):
        list(Columns(path=str(tmp_path / "st.parquet"), format="parquet").triples())


def _v1_row(
    query_id: str, positives: list[tuple[str, str]], negatives: list[tuple[str, str]]
) -> dict[str, Any]:
    def passages(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"docid": docid, "title": "T", "text": text} for docid, text in pairs]

    return {
        "query_id": query_id,
        "query": f"{query_id}?",
        "positive_passages": passages(positives),
        "negative_passages": passages(negatives),
    }


def test_tevatron_v1_keeps_the_ids_of_the_file(tmp_path: Path) -> None:
    rows = [_v1_row("q1", [("7", "a")], [("08", "b")]), _v1_row("q2", [("08", "b")], [("7", "a")])]
    source = TevatronTexts(path=_jsonl(tmp_path / "t.jsonl", rows))
    source.check()
    assert list(source.passages()) == [Passage("7", "T", "a"), Passage("08", "T", "b")]
    assert list(source.queries()) == [Query("q1", "q1?"), Query("q2", "q2?")]
    assert list(source.triples()) == [Triple("q1", ("7",), ("08",)), Triple("q2", ("08",), ("7",))]


def test_tevatron_v1_docid_with_two_texts_raises_with_both_lines(tmp_path: Path) -> None:
    rows = [_v1_row("q1", [("0", "a")], []), _v1_row("q2", [("0", "b")], [])]
    path = _jsonl(tmp_path / "t.jsonl", rows)
    with pytest.raises(DataError) as raised:
        list(TevatronTexts(path=path).passages())
    assert f"0 ({path}:1 and {path}:2)" in str(raised.value)


def test_tevatron_v1_integer_docid_raises(tmp_path: Path) -> None:
    row = _v1_row("q1", [("0", "a")], [])
    row["positive_passages"][0]["docid"] = 0
    with pytest.raises(DataError, match="column 'docid': found integer, expected string"):
        TevatronTexts(path=_jsonl(tmp_path / "t.jsonl", [row])).check()


def _tevatron(folder: Path, rows: list[dict[str, Any]]) -> Tevatron:
    corpus = [{"docid": "d1", "document_text": "one", "title": "T"}, {"docid": "d2", "document_text": "two"}]
    return Tevatron(path=_jsonl(folder / "t.jsonl", rows), corpus=_jsonl(folder / "c.jsonl", corpus))


def test_tevatron_ids_and_corpus_are_read(tmp_path: Path) -> None:
    row = {
        "query_id": "q1",
        "query_text": "q?",
        "positive_document_ids": ["d1"],
        "negative_document_ids": ["d2", "d1", "d2"],
    }
    source = _tevatron(tmp_path, [row])
    source.check()
    assert list(source.passages()) == [Passage("d1", "T", "one"), Passage("d2", "", "two")]
    assert list(source.queries()) == [Query("q1", "q?")]
    assert list(source.triples()) == [Triple("q1", ("d1",), ("d2",))]
    assert list(source.judgements("train")) == [Judgement("q1", "d1", 1)]
    assert set(source.identity()["files"]) == {"rows", "corpus"}


def test_tevatron_row_without_positives_is_rejected(tmp_path: Path) -> None:
    row = {"query_id": "q1", "query_text": "q?", "positive_document_ids": []}
    assert list(_tevatron(tmp_path, [row]).triples()) == [Rejected("q1", "t.jsonl:1", "no_positive")]


def test_tevatron_check_reads_the_training_columns_too(tmp_path: Path) -> None:
    row = {"query_id": "q1", "query_text": "q?", "positive_document_ids": "d1"}
    with pytest.raises(DataError, match="found string, expected list"):
        _tevatron(tmp_path, [row]).check()


def test_any_retrieval_source_takes_every_source_by_its_kind() -> None:
    adapter: TypeAdapter[RetrievalSource] = TypeAdapter(AnyRetrievalSource)
    side = {"kind": "lines", "test": "t"}
    required = {
        "path": "x",
        "corpus": "c",
        "format": "csv",
        "test": "t",
        "pairs": {"given": side, "wanted": side},
    }
    for source in RETRIEVAL_SOURCES:
        values = {name: value for name, value in required.items() if name in source.model_fields}
        kind = source.model_fields["kind"].default
        assert type(adapter.validate_python({"kind": kind, **values})) is source


def test_any_retrieval_source_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValidationError, match="'beir', 'tevatron'"):
        TypeAdapter(AnyRetrievalSource).validate_python({"kind": "mteb", "path": "x"})
