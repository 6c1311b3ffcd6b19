"""Rows 14 to 23 of the fault table: what is wrong in a BEIR folder, through the plan and the fetch stage."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from descant.artifacts.store import Artifact, Store
from descant.core.errors import DataError, DescantError
from descant.data.beir import Beir
from descant.stages.base import StageContext, Step, silent
from descant.stages.fetch import Fetch, passages_of
from descant.testing.history import check_history
from tests.faults.command import assert_refused, descant, nothing_started
from tests.faults.tiny_job import passage, query, sentence, write_data, write_job, write_lines, write_qrels

MOST_SECONDS = 10

Damage = Callable[[Path], object]


def fetch(folder: Path, *, passages_per_part: int = 20, strict: bool = False) -> Artifact:
    """The result of the fetch stage over ``folder/data``."""
    stage = Fetch(source=Beir(path=str(folder / "data")), passages_per_part=passages_per_part, strict=strict)
    step = Step("fetch", stage)
    store = Store(folder / "store")
    with store.draft("fetch", stage.version, step.fingerprint, "fetch", stage, {}) as draft:
        outcome = stage.run(StageContext(draft, {}, stage.compute_class(), silent))
        return draft.finish(outcome.names, outcome.facts)


def kept_passages(data: Artifact) -> dict[str, str]:
    return {p.id: p.text for name in data.names("passages-") for p in passages_of(data, name)}


def rejected_passages(data: Artifact) -> list[tuple[str, str]]:
    names = data.names("passages-")
    return [(row.id, row.reason) for name in names for row in data.part(name).rejected]


def corpus_line(folder: Path, number: int, row: object) -> None:
    """Replace line ``number`` (from 1) of the corpus."""
    path = folder / "corpus.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n"
    path.write_bytes(b"".join(lines))


def corpus_lines(folder: Path, numbers: range, row: bytes) -> None:
    """Replace several lines of the corpus by ``row``."""
    for number in numbers:
        corpus_line(folder, number, row)


def packed(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """The corpus as a gzip file whose bytes were changed."""
    path = folder / "corpus.jsonl"
    path.with_name("corpus.jsonl.gz").write_bytes(change(gzip.compress(path.read_bytes())))
    path.unlink()


def emptied(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


PLAN_TIME: dict[str, tuple[Damage, int, str, tuple[str, ...]]] = {
    "14 empty folder": (emptied, 3, "E-DATA-EMPTY", ("/data: 0 rows", "Nothing was started")),
    "14 empty corpus": (
        lambda data: (data / "corpus.jsonl").write_text(""),
        3,
        "E-DATA-EMPTY",
        ("corpus.jsonl", "0 rows"),
    ),
    "14 header only": (
        lambda data: write_qrels(data / "qrels/test.tsv", []),
        3,
        "E-DATA-EMPTY",
        ("test.tsv", "0 rows"),
    ),
    "14 no folder": (
        lambda data: data.rename(data.with_name("moved")),
        2,
        "E-SRC-PATH",
        ("/data", "Nothing was started"),
    ),
    "14 no judgements": (
        lambda data: (data / "qrels/test.tsv").unlink(),
        2,
        "E-SRC-PATH",
        ("qrels/test.tsv",),
    ),
    "22 missing column": (
        lambda data: write_lines(data / "corpus.jsonl", [{"_id": "p0", "body": "x"}]),
        3,
        "E-DATA-COLUMN",
        ("corpus.jsonl:1", "column 'text' is missing", "found: _id, body"),
    ),
    "22 number for an id": (
        lambda data: corpus_line(data, 1, passage(0, _id=7)),
        3,
        "E-DATA-TYPE",
        ("corpus.jsonl:1", "'_id'", "integer", "string", "never converted"),
    ),
    "22 list for a text": (
        lambda data: corpus_line(data, 1, passage(0, text=["a"])),
        3,
        "E-DATA-TYPE",
        ("corpus.jsonl:1", "'text'", "list", "string"),
    ),
    "22 text for a grade": (
        lambda data: write_qrels(data / "qrels/train.tsv", [("q0", "p0", "high")]),  # type: ignore[list-item]
        3,
        "E-DATA-TYPE",
        ("train.tsv:2", "'score'", "'high'", "integer"),
    ),
    "21 gzip cut": (
        lambda data: packed(data, lambda b: b[:40]),
        3,
        "E-DATA-GZIP",
        ("corpus.jsonl.gz", "Nothing of it was kept", "Fetch the file again"),
    ),
}


@pytest.mark.parametrize("name", PLAN_TIME)
def test_data_that_cannot_be_right_is_refused_by_the_plan(name: str, home: Path) -> None:
    damage, code, rule, parts = PLAN_TIME[name]
    damage(write_data(home / "data"))
    ended = descant(home, "plan", *write_job(home))
    assert_refused(ended, code, rule, *parts)
    assert nothing_started(home)
    assert ended.seconds < MOST_SECONDS


def test_empty_and_blank_passages_are_quarantined_by_id(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", passages=100)
    blank = {30: "", 31: "   ", 32: "\t\n", 33: "\u2003", 34: None}
    write_lines(
        data / "corpus.jsonl", [passage(i, **({"text": blank[i]} if i in blank else {})) for i in range(100)]
    )
    result = fetch(tmp_path)
    kept = kept_passages(result)
    check_history(
        Store(tmp_path / "store"),
        "fetch",
        result.manifest.fingerprint,
        input_ids=[f"p{i}" for i in range(100)],
        committed_ids=kept,
    )
    assert rejected_passages(result) == [(f"p{i}", "empty_text") for i in blank]
    assert len(kept) == 95


def test_passage_of_50_mb_on_one_line_is_kept_whole(tmp_path: Path) -> None:
    text = sentence(1) * (50_000_000 // len(sentence(1)) + 1)
    corpus_line(write_data(tmp_path / "data"), 21, passage(20, text=text))
    assert kept_passages(fetch(tmp_path))["p20"] == text


BAD_BYTES = {
    "17 invalid UTF-8": (b'{"_id": "p30", "text": "caf\xe9"}\n', "invalid_utf8", "corpus.jsonl:31 (byte "),
    "17 NUL": (b'{"_id": "p30", "text": "a\x00b"}\n', "nul_byte", "corpus.jsonl:31 (byte "),
    "17 escaped NUL": (b'{"_id": "p30", "text": "a\\u0000b"}\n', "invalid_unicode", "corpus.jsonl:31"),
    "17 lone surrogate": (b'{"_id": "p30", "text": "a\\ud800b"}\n', "invalid_unicode", "corpus.jsonl:31"),
    "21 bad line": (b'{"_id": "p30", "text": \n', "broken_json", "corpus.jsonl:31"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_damaged_line_is_quarantined_with_its_place_and_the_others_stay(name: str, tmp_path: Path) -> None:
    line, reason, place = BAD_BYTES[name]
    corpus_line(write_data(tmp_path / "data"), 31, line)
    result = fetch(tmp_path)
    (rejected,) = result.manifest.rejected
    assert rejected.reason == reason
    assert rejected.where.startswith(place)
    assert set(kept_passages(result)) == {f"p{i}" for i in range(60)} - {"p30"}


def test_byte_order_mark_and_windows_line_ends_are_not_part_of_the_texts(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data") / "corpus.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    result = fetch(tmp_path)
    assert kept_passages(result) == {f"p{i}": sentence(i) for i in range(60)}
    assert not result.manifest.rejected


STRESS = (
    "👩‍👩‍👧‍👦 family",
    "שלום עולם \u202eabc",
    "e\u0301 and é",
    "zero\u200bwidth\ufeff",
    "\U00020000\U0002a6d6 CJK",
    "ıIİi",  # noqa: RUF001 (dotless i)
    "line\u2028separator\x85next",
)


@pytest.mark.parametrize("text", STRESS, ids=range(len(STRESS)))
def test_text_is_the_same_bytes_in_the_store_as_in_the_file(text: str, tmp_path: Path) -> None:
    corpus_line(write_data(tmp_path / "data"), 31, passage(30, text=text))
    assert kept_passages(fetch(tmp_path))["p30"].encode() == text.encode()


def test_equal_repetition_of_an_id_is_dropped_and_counted(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data") / "corpus.jsonl"
    write_lines(path, [passage(i) for i in [*range(60), 3, 4]])
    result = fetch(tmp_path)
    assert result.manifest.facts["duplicates_dropped"] == 2
    assert len(kept_passages(result)) == 60
    assert not result.manifest.rejected


REFUSED: dict[str, tuple[Damage, str, tuple[str, ...]]] = {
    "19 ids with two texts": (
        lambda data: write_lines(
            data / "corpus.jsonl", [*map(passage, range(60)), *(passage(i, text="other") for i in range(7))]
        ),
        "E-DATA-DUPLICATE",
        (*(f"p{i} (" for i in range(5)), "corpus.jsonl:1 and", "corpus.jsonl:61)", "Nothing was kept"),
    ),
    "20 number among strings": (
        lambda data: corpus_line(data, 31, passage(30, _id=30)),
        "E-DATA-TYPE",
        ("corpus.jsonl:31", "integer", "never converted"),
    ),
    "20 null": (
        lambda data: corpus_line(data, 31, passage(30, _id=None)),
        "E-DATA-TYPE",
        ("corpus.jsonl:31", "null"),
    ),
    "20 newline": (
        lambda data: corpus_line(data, 31, passage(30, _id="a\nb")),
        "E-DATA-ID",
        ("corpus.jsonl:31", r"'a\nb'", "without whitespace", "Rename the id"),
    ),
    "20 10 kB": (
        lambda data: corpus_line(data, 31, passage(30, _id="x" * 10_000)),
        "E-DATA-ID",
        ("corpus.jsonl:31", "1 to 512 bytes"),
    ),
    "21 more bad lines than a tenth": (
        lambda data: corpus_lines(data, range(30, 37), b"{\n"),
        "E-DATA-REJECTS",
        ("passages", "7 of 60 rows", "broken_json 7", "at most 6", "corpus.jsonl:30"),
    ),
    "21 bad checksum": (
        lambda data: packed(data, lambda b: b[:-8] + bytes(4) + b[-4:]),
        "E-DATA-GZIP",
        ("corpus.jsonl.gz", "Nothing of it was kept", "Fetch the file again"),
    ),
    "22 text after texts is a number": (
        lambda data: corpus_line(data, 31, passage(30, text=3)),
        "E-DATA-TYPE",
        ("corpus.jsonl:31", "'text'", "integer", "string"),
    ),
    "23 decompression bomb": (
        lambda data: packed(data, lambda b: gzip.compress(b'{"_id": "' + b"x" * (80 << 20))),
        "E-DATA-RATIO",
        ("corpus.jsonl.gz", "the limit is 200 to 1"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_contradicts_its_form_is_refused_and_no_result_is_made(name: str, tmp_path: Path) -> None:
    damage, rule, parts = REFUSED[name]
    damage(write_data(tmp_path / "data"))
    with pytest.raises(DataError) as caught:
        fetch(tmp_path)
    assert caught.value.code == rule
    for part in parts:
        assert part in str(caught.value)
    assert list(Store(tmp_path / "store").all()) == []


ODD_IDS = ("01", "1", "a/b", "../x", "-rf", "1e5", "é", "x" * 512)


def test_odd_ids_survive_the_store_unchanged(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    rows = [passage(i, _id=odd) for i, odd in enumerate(ODD_IDS)]
    write_lines(data / "corpus.jsonl", rows)
    write_qrels(data / "qrels/train.tsv", [("q0", odd, 1) for odd in ODD_IDS])
    result = fetch(tmp_path)
    assert kept_passages(result) == {odd: sentence(i) for i, odd in enumerate(ODD_IDS)}
    assert result.manifest.facts["judged_passages_missing_train"] == 0


def test_cut_last_line_is_quarantined_and_one_of_10_000_is_tolerated(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", passages=10_000) / "corpus.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    result = fetch(tmp_path, passages_per_part=5_000)
    assert [row.where for row in result.manifest.rejected] == ["corpus.jsonl:10000"]
    assert len(kept_passages(result)) == 9_999


def test_damaged_queries_are_counted_like_passages(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    write_lines(data / "queries.jsonl", [query(i, **({"text": " "} if i == 3 else {})) for i in range(20)])
    result = fetch(tmp_path)
    assert [(row.id, row.reason) for row in result.part("queries").rejected] == [("q3", "empty_text")]


def test_corrected_data_is_another_result_and_the_refused_one_is_not_in_its_way(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    corpus_line(data, 31, passage(30, text=3))
    with pytest.raises(DescantError):
        fetch(tmp_path)
    corpus_line(data, 31, passage(30))
    assert len(kept_passages(fetch(tmp_path))) == 60


@pytest.mark.ray
def test_run_that_fails_in_fetch_ends_with_exit_3_its_message_and_a_trace_in_a_file(home: Path) -> None:
    corpus_line(write_data(home / "data"), 31, passage(30, text=3))
    ended = descant(home, "run", *write_job(home))
    assert_refused(ended, 3, "E-DATA-TYPE", "corpus.jsonl:31", "integer", "string")
    trace = home / "store/last-error.txt"
    assert f"the trace is in {trace}" in " ".join(ended.text.split())
    assert "Traceback" in trace.read_text()
    assert list(Store(home / "store").all()) == []
    assert not list((home / "tmp").glob("descant-ray-*"))
