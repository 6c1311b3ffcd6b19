"""From files of text to splits without repetitions: filters, duplicates, dealing out, damaged rows, large files."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.artifacts.store import Artifact, Store
from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.data.near_duplicates import bands
from descant.data.running_text import RunningText
from descant.data.text_filters import TextFilters, letter_share, normalised, repetition
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.filter_text import FilterText
from descant.stages.split_text import HELD_OUT, SplitText, cut_to, texts_of
from tests.pipeline import made

PROFILE = Profile().of_trial()
EVERYTHING = TextFilters(min_bytes=1, min_letters=0, max_repetition=1)
TURKISH = "Bugün hava çok güzel, bu yüzden çocuklarla birlikte parka gidip oyun oynadık."
ENGLISH = "The weather is very nice today, so we went to the park with the children and played."


def write_jsonl(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def sentences(count: int, word: str = "word") -> list[dict[str, str]]:
    return [{"text": " ".join(f"{word}{(i * k) % 997}x" for k in range(1, 13))} for i in range(1, count + 1)]


def filtered(store: Store, source: RunningText, filters: TextFilters = EVERYTHING) -> Artifact:
    return made(Step("filter", FilterText(source=source, filters=filters)), store, PROFILE)["filter"]


def split(store: Store, files: list[str], held_out: list[str] | None = None, **values: Any) -> Artifact:
    inputs = {"texts": Step("filter", FilterText(source=RunningText(files=tuple(files)), filters=EVERYTHING))}
    if held_out is not None:
        source = RunningText(files=tuple(held_out))
        inputs[HELD_OUT] = Step("filter held out", FilterText(source=source, filters=EVERYTHING))
    stage = SplitText(**{"seed": 1, **values})
    return made(Step("split", stage, inputs), store, PROFILE)["split"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


# --- reading ---


def test_rows_of_a_group_are_one_document(tmp_path: Path) -> None:
    rows = [{"text": text, "doc": doc} for text, doc in (("a", 1), ("b", 1), ("c", 2), ("d", 1))]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    found = list(RunningText(files=(path,), group="doc").documents(0))
    assert [(d.where, d.text) for d in found if not isinstance(d, Rejected)] == [
        ("a.jsonl:1", "a\n\nb"),
        ("a.jsonl:3", "c"),
        ("a.jsonl:4", "d"),
    ]
    assert len(list(RunningText(files=(path,)).documents(0))) == 4


def test_plain_text_has_blank_lines_between_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("bir\niki\r\n\n\n  \nüç\n".encode())
    found = list(RunningText(files=(str(path),), format="text").documents(0))
    assert [d.text for d in found if not isinstance(d, Rejected)] == ["bir\niki", "üç"]


def test_parquet_is_read_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"content": ["bir", "iki"], "id": [1, 2]}), path)
    found = list(RunningText(files=(str(path),), format="parquet", column="content").documents(0))
    assert [d.text for d in found if not isinstance(d, Rejected)] == ["bir", "iki"]


def test_identity_is_that_of_the_bytes_and_not_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    sources = [
        RunningText(files=(write_jsonl(tmp_path / name, [{"text": "x"}]),))
        for name in ("a.jsonl", "b/c.jsonl")
    ]
    assert sources[0].identity() == sources[1].identity()
    other = RunningText(files=(write_jsonl(tmp_path / "d.jsonl", [{"text": "y"}]),))
    assert other.identity() != sources[0].identity()


# --- filters ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TURKISH, ""),
        ("", "empty"),
        ("kısa", "too_short"),
        ("söz " * 1000, "too_long"),
        ("1234 5678 90 ... 12 34 56 78 90 12 34 ;;", "few_letters"),
        ("aynı söz yine " * 12, "repetitive"),
        (ENGLISH, "other_language"),
    ],
)
def test_each_reason_is_found(text: str, reason: str) -> None:
    filters = TextFilters(language="tr", max_bytes=1000)
    assert filters.reason(normalised(text)) == reason


def test_languages_of_the_packs_are_told_apart() -> None:
    texts = {
        "tr": TURKISH,
        "en": ENGLISH,
        "hi": "आज मौसम बहुत अच्छा है, इसलिए हम बच्चों के साथ पार्क में खेलने गए।",
        "ar": "الطقس جميل جدا اليوم، لذلك ذهبنا مع الأطفال إلى الحديقة ولعبنا هناك.",
        "ta": "இன்று வானிலை மிகவும் நன்றாக உள்ளது, எனவே குழந்தைகளுடன் பூங்காவிற்குச் சென்றோம்.",
    }
    for language, text in texts.items():
        for other in texts:
            expected = "" if other == language else "other_language"
            assert TextFilters(language=other).reason(normalised(text)) == expected


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_normalised_texts_stay_as_they_are(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    once.encode()


def test_vowel_signs_are_letters_and_control_characters_are_dropped() -> None:
    assert letter_share("कि") == 1.0
    assert letter_share("a1") == 0.5
    assert normalised("a\x00b\x1b[1m c\t \r\nd\ud800 ") == "ab[1m c\nd"
    assert normalised("e\u0301") == "é"


def test_repetition_counts_phrases_that_stood_before() -> None:
    words = [f"w{i}" for i in range(22)]
    assert repetition(" ".join(words)) == 0
    assert repetition(" ".join(words + words)) == pytest.approx(1 - 22 / 42)
    assert repetition("a a a") == 0


def test_what_is_left_out_is_counted_with_its_reason(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"text": TURKISH},
        {"text": ENGLISH},
        {"text": "kısa"},
        {"text": None},
        {"text": TURKISH + " Sonra."},
    ]
    write_jsonl(path, rows)
    with path.open("ab") as stream:
        stream.write(b'{"text": "\xff"}\n')
    found = filtered(store, RunningText(files=(str(path),)), TextFilters(language="tr"))
    facts = found.manifest.facts
    assert facts["documents"] == 2
    assert facts["left_out"] == {"empty": 1, "invalid_utf8": 1, "other_language": 1, "too_short": 1}
    assert facts["bytes"] == len((TURKISH + TURKISH + " Sonra.").encode())
    assert facts["left_out_bytes"] == len((ENGLISH + "kısa").encode())


def test_a_corpus_of_which_nothing_is_left_is_refused(store: Store, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": ENGLISH}] * 3)
    with pytest.raises(DataError, match="no document is left \\(3 other_language\\)"):
        filtered(store, RunningText(files=(path,)), TextFilters(language="tr"))


# --- duplicates ---


def test_nearly_equal_texts_share_a_band_and_different_ones_do_not() -> None:
    one = " ".join(f"söz{i}" for i in range(200))
    near = one.replace("söz100 ", "başka ")
    other = " ".join(f"laf{i}" for i in range(200))
    assert set(bands(one)) & set(bands(near))
    assert not set(bands(one)) & set(bands(other))
    assert bands(one) == bands(one.upper().replace("SÖZ", "Söz"))
    assert len(set(bands("tek"))) == 16


def test_equal_and_nearly_equal_documents_are_kept_once(store: Store, tmp_path: Path) -> None:
    rows = sentences(40)
    long = " ".join(f"söz{i}" for i in range(200))
    rows += [rows[3], rows[5], {"text": long}, {"text": long.replace("söz100 ", "başka ")}]
    files = [write_jsonl(tmp_path / f"{n}.jsonl", part) for n, part in enumerate((rows[:20], rows[20:]))]
    found = split(store, files, validation=0.0, tokenizer=0.0)
    assert found.manifest.facts["dropped"] == {"duplicate": 2, "near_duplicate": 1}
    texts = list(texts_of(found, ["train"]))
    assert texts == [row["text"] for row in [*rows[:40], rows[42]]]
    exact = split(store, files, validation=0.0, tokenizer=0.0, near_duplicates=False)
    assert exact.manifest.facts["dropped"] == {"duplicate": 2, "near_duplicate": 0}


# --- splits ---


def test_long_held_out_documents_are_cut_behind_a_word_and_those_to_learn_from_are_not(
    store: Store, tmp_path: Path
) -> None:
    long = "uzun kelimeler " * 40
    learned = write_jsonl(tmp_path / "a.jsonl", [{"text": f"ilk {long}"}, {"text": "kısa bir metin"}])
    held_out = write_jsonl(
        tmp_path / "b.jsonl", [{"text": f"{n} {long}"} for n in range(8)] + [{"text": "kısa"}]
    )
    values = {"test": 0.5, "tokenizer": 0.0, "near_duplicates": False}
    found = split(store, [learned], [held_out], max_held_out_bytes=100, **values)
    assert sorted(texts_of(found, ["train"])) == [f"ilk {long}".strip(), "kısa bir metin"]
    for which in ("validation", "test"):
        texts = list(texts_of(found, [which]))
        assert found.manifest.facts["bytes"][which] == sum(len(text.encode()) for text in texts)
        cut = [text for text in texts if text != "kısa"]
        assert cut, "the seed deals some out to both"
        assert all(80 < len(text.encode()) <= 100 for text in cut)
        assert all(text == f"{text[0]} {long}"[: len(text)] for text in cut)
        assert {text.split()[-1] for text in cut} <= {"uzun", "kelimeler"}


@pytest.mark.parametrize(
    ("text", "num_bytes", "found"),
    [
        ("üç beş", 9, "üç beş"),
        ("üç beş x", 9, "üç beş"),
        ("dokuz on x", 7, "dokuz"),
        ("üç beş", 3, "ü"),
        ("üçbeş", 4, "üç"),
        ("a " + "字" * 40, 90, "a " + "字" * 29),
        (" üç", 2, " "),
    ],
)
def test_text_is_cut_to_its_words_or_else_its_characters(text: str, num_bytes: int, found: str) -> None:
    assert cut_to(text, num_bytes) == found


def test_splits_do_not_overlap_and_hold_everything(store: Store, tmp_path: Path) -> None:
    rows = sentences(600)
    found = split(store, [write_jsonl(tmp_path / "a.jsonl", rows)], validation=0.1, test=0.1, tokenizer=0.2)
    parts = {name: list(texts_of(found, [name])) for name in ("train", "validation", "test", "tokenizer")}  # type: ignore[list-item]
    assert Counter(text for part in parts.values() for text in part) == Counter(row["text"] for row in rows)
    assert found.manifest.facts["documents"] == {name: len(part) for name, part in parts.items()}
    assert len(parts["validation"]) == pytest.approx(60, abs=25)
    assert len(parts["tokenizer"]) == pytest.approx(120, abs=35)


def test_a_document_is_dealt_out_by_itself_alone(store: Store, tmp_path: Path) -> None:
    rows = sentences(200)
    whole = split(store, [write_jsonl(tmp_path / "a.jsonl", rows)], validation=0.2)
    half = split(store, [write_jsonl(tmp_path / "b.jsonl", rows[::-2])], validation=0.2)
    assert set(texts_of(half, ["validation"])) < set(texts_of(whole, ["validation"]))


def test_held_out_files_are_validation_and_nothing_of_them_is_trained_on(
    store: Store, tmp_path: Path
) -> None:
    rows = sentences(100)
    files = [write_jsonl(tmp_path / "a.jsonl", rows)]
    held = [write_jsonl(tmp_path / "held.jsonl", [*rows[:10], *sentences(5, "other")])]
    found = split(store, files, held, validation=0.5, tokenizer=0.2)
    assert len(list(texts_of(found, ["validation"]))) == 15
    rest = list(texts_of(found, ["train", "tokenizer"]))
    assert not set(rest) & {row["text"] for row in rows[:10]}
    assert len(rest) == 90


def test_a_split_without_documents_is_refused(store: Store, tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / "a.jsonl", sentences(3))]
    with pytest.raises(DataError, match="no document for validation"):
        split(store, files, validation=1e-6, tokenizer=0.0)


def test_running_again_gives_equal_bytes(tmp_path: Path) -> None:
    files = [write_jsonl(tmp_path / "a.jsonl", sentences(50))]
    parts = [
        {
            part.name: part.sha256
            for part in split(Store(tmp_path / name), files, validation=0.2).manifest.parts
        }
        for name in ("one", "two")
    ]
    assert parts[0] == parts[1]
