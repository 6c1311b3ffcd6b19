"""BEIR folders: reading, checking and identity."""

import gzip
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from descant.core.errors import ConfigError, DataError
from descant.core.fingerprint import fingerprint
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data.beir import Beir

CORPUS = [{"_id": "d1", "title": "T", "text": "one"}, {"_id": "d2", "text": "two", "metadata": {}}]
QUERIES = [{"_id": "q1", "text": "first?"}, {"_id": "q2", "text": "second?"}]
HEADER = "query-id\tcorpus-id\tscore\n"


def _lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _folder(folder: Path, corpus: str = "", queries: str = "", train: str = "", test: str = "") -> Beir:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text(corpus or _lines(CORPUS), encoding="utf-8")
    (folder / "queries.jsonl").write_text(queries or _lines(QUERIES), encoding="utf-8")
    (folder / "qrels/train.tsv").write_text(train or HEADER + "q1\td1\t1\n")
    (folder / "qrels/test.tsv").write_text(test or HEADER + "q2\td2\t1\n")
    return Beir(path=str(folder))


def test_beir_streams_hold_the_records_of_the_files(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    source.check()
    assert list(source.passages()) == [Passage("d1", "T", "one"), Passage("d2", "", "two")]
    assert list(source.queries()) == [Query("q1", "first?"), Query("q2", "second?")]
    assert source.splits() == ("train", "test")
    assert list(source.judgements("test")) == [Judgement("q2", "d2", 1)]


def test_beir_triples_are_relevant_passages_best_first(tmp_path: Path) -> None:
    train = HEADER + "q1\td1\t1\nq2\td1\t0\nq1\td2\t2\nq1\td3\t0\nq1\td4\t-1\n"
    assert list(_folder(tmp_path, train=train).triples()) == [Triple("q1", ("d2", "d1"), ())]


def test_beir_packed_files_read_the_same(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    expected = list(source.passages()), list(source.judgements("train"))
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        plain = tmp_path / name
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    source.check()
    assert (list(source.passages()), list(source.judgements("train"))) == expected


def test_beir_plain_and_packed_file_together_raise(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    (tmp_path / "corpus.jsonl.gz").write_bytes(b"")
    with pytest.raises(ConfigError, match="stands there plain"):
        source.check()


def test_beir_windows_text_reads_the_same(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    expected = list(source.passages()), list(source.judgements("train"))
    for name in ("corpus.jsonl", "qrels/train.tsv"):
        data = (tmp_path / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data)
    assert (list(source.passages()), list(source.judgements("train"))) == expected


@pytest.mark.parametrize("text", ["", "  ", "\t\n", "\u3000", None])
def test_beir_blank_text_is_rejected_with_its_id(tmp_path: Path, text: str | None) -> None:
    corpus = _lines([*CORPUS, {"_id": "d3", "title": "", "text": text}])
    assert list(_folder(tmp_path, corpus=corpus).passages())[2] == Rejected(
        "d3", "corpus.jsonl:3", "empty_text"
    )


def test_beir_passage_with_title_alone_is_kept(tmp_path: Path) -> None:
    corpus = _lines([{"_id": "d3", "title": "Title", "text": ""}])
    assert list(_folder(tmp_path, corpus=corpus).passages()) == [Passage("d3", "Title", "")]


def test_beir_renamed_splits_name_their_files(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "qrels/test.tsv").rename(tmp_path / "qrels/dev.tsv")
    source = Beir(path=str(tmp_path), test_split="dev")
    source.check()
    assert source.splits() == ("train", "dev")
    assert list(source.judgements("dev")) == [Judgement("q2", "d2", 1)]


def test_beir_without_train_split_has_no_triples(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "qrels/train.tsv").unlink()
    source = Beir(path=str(tmp_path), train_split=None)
    source.check()
    assert list(source.triples()) == []


@pytest.mark.parametrize("split", ["../test", "a/b", "", "x" * 101, "-rf"])
def test_beir_split_name_that_is_not_a_file_name_is_refused(split: str) -> None:
    with pytest.raises(ValidationError):
        Beir(path="x", test_split=split)


def test_beir_same_split_for_training_and_test_is_refused() -> None:
    with pytest.raises(ValidationError, match="both 'test'"):
        Beir(path="x", train_split="test")


def test_beir_unknown_split_raises_naming_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: train, test"):
        _folder(tmp_path).judgements("dev")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_beir_check_missing_file_is_a_config_error_with_its_path(tmp_path: Path, name: str) -> None:
    source = _folder(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError) as raised:
        source.check()
    assert raised.value.code == "E-SRC-PATH"
    assert str(tmp_path / name) in str(raised.value)


def test_beir_check_empty_folder_says_0_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 rows"):
        Beir(path=str(tmp_path)).check()


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"])
def test_beir_check_empty_file_says_0_rows(tmp_path: Path, name: str) -> None:
    source = _folder(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="0 rows") as raised:
        source.check()
    assert str(tmp_path / name) in str(raised.value)


def test_beir_check_judgements_with_header_alone_says_0_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 rows"):
        _folder(tmp_path, test=HEADER).check()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"_id": "d", "contents": "x"}, "column 'text' is missing, found: _id, contents"),
        ({"id": "d", "text": "x"}, "column '_id' is missing, found: id, text"),
        ({"_id": 1, "text": "x"}, "column '_id': found integer, expected string"),
        ({"_id": "d", "text": ["x"]}, "column 'text': found list, expected string"),
        ({"_id": "d", "text": "x", "title": 5}, "column 'title': found integer, expected string"),
    ],
)
def test_beir_check_wrong_columns_are_found_from_the_first_row(
    tmp_path: Path, row: dict[str, Any], problem: str
) -> None:
    source = _folder(tmp_path, corpus=_lines([row, *({"_id": f"d{i}", "text": "x"} for i in range(100_000))]))
    started = time.monotonic()
    with pytest.raises(DataError) as raised:
        source.check()
    assert time.monotonic() - started < 5
    assert f"corpus.jsonl:1: {problem}" in str(raised.value)
    assert raised.value.exit_code == 3


def test_beir_later_row_of_another_type_raises_with_its_line(tmp_path: Path) -> None:
    corpus = _lines([*CORPUS, {"_id": 3, "text": "x"}])
    with pytest.raises(DataError, match=r"corpus\.jsonl:3: column '_id': found integer"):
        list(_folder(tmp_path, corpus=corpus).passages())


def test_beir_identity_does_not_depend_on_where_the_data_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = _folder(tmp_path / "here"), _folder(tmp_path / "there")
    monkeypatch.setenv("DESCANT_DATA", str(tmp_path))
    variable = Beir(path="${DESCANT_DATA}/here")
    assert fingerprint(here) == fingerprint(there) == fingerprint(variable)
    assert variable.path == "${DESCANT_DATA}/here"
    assert str(tmp_path) not in repr(here.identity())


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"])
def test_beir_identity_follows_every_file(tmp_path: Path, name: str) -> None:
    source = _folder(tmp_path)
    before = fingerprint(source)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    assert fingerprint(source) != before


def test_beir_identity_follows_the_options(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    assert fingerprint(source) != fingerprint(Beir(path=source.path, train_split=None))


def test_beir_identity_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Beir(path=str(tmp_path / "absent")).identity()


UNICODE_STRESS = [
    "👩\u200d👩\u200d👧\u200d👦 family",
    "שלום \u202eabc\u202c مرحبا",
    "e\u0301 vs é",
    "zero\u200bwidth\u2060joiner",
    "𠀀𪚥 CJK extension B",
    "\u0130stanbul \u0131ss\u0131z",
    "line\u2028separator\x85next",
    "\ufeffmark inside",
]


def test_beir_unicode_texts_are_equal_byte_by_byte(tmp_path: Path) -> None:
    corpus = _lines({"_id": f"d{i}", "title": text, "text": text} for i, text in enumerate(UNICODE_STRESS))
    passages = [p for p in _folder(tmp_path, corpus=corpus).passages() if isinstance(p, Passage)]
    assert [p.text.encode() for p in passages] == [text.encode() for text in UNICODE_STRESS]
    assert [p.title for p in passages] == UNICODE_STRESS


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
_IDS = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1)


@given(st.dictionaries(_IDS, st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=20))
def test_beir_ids_and_texts_survive_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, tuple[str, str]]
) -> None:
    written = [Passage(key, title, "." + text) for key, (title, text) in contents.items()]
    corpus = _lines({"_id": p.id, "title": p.title, "text": p.text} for p in written)
    assert list(_folder(tmp_path_factory.mktemp("beir"), corpus=corpus).passages()) == written
