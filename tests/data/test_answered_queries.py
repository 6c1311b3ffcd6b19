"""Data in which every query has one passage: paragraphs of SQuAD's layout, translations of sentences."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from descant.core.errors import ConfigError, DataError
from descant.core.fingerprint import fingerprint
from descant.core.records import Judgement, Passage, Query, Rejected, Triple
from descant.data import AnyRetrievalSource
from descant.data.source import RetrievalSource


def made(settings: dict[str, Any]) -> RetrievalSource:
    source: RetrievalSource = TypeAdapter(AnyRetrievalSource).validate_python(settings)
    return source


def question(number: str, text: str) -> dict[str, Any]:
    return {"id": number, "question": text, "answers": [{"text": "308", "answer_start": 3}]}


def squad(path: Path, *articles: list[tuple[str, list[dict[str, Any]]]]) -> str:
    data = [
        {"title": "T", "paragraphs": [{"context": text, "qas": asked} for text, asked in article]}
        for article in articles
    ]
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return str(path)


def lines(path: Path, *texts: str) -> str:
    path.write_text("".join(f"{text}\n" for text in texts))
    return str(path)


def translations(
    folder: Path, given: list[str], wanted: list[str], train: tuple[str, str] | None = None
) -> RetrievalSource:
    sides = {
        name: {"kind": "lines", "test": lines(folder / name, *texts)}
        for name, texts in (("given", given), ("wanted", wanted))
    }
    if train is not None:
        sides["given"]["train"], sides["wanted"]["train"] = train
    return made({"kind": "translations", "pairs": sides})


def test_squad_paragraphs_and_questions_are_read(tmp_path: Path) -> None:
    test = squad(
        tmp_path / "test.json",
        [("\ufeffone", [question("a", "first? "), question("b", "second?")]), ("two", [])],
        [("three", [question("c", "third?"), question("d", " ")])],
    )
    train = squad(tmp_path / "train.json", [("four", [question("e", "fourth?")])])
    source = made({"kind": "squad", "train": train, "test": test})
    source.check()
    assert source.splits() == ("train", "test")
    assert list(source.passages()) == [
        Passage("train-0-0", "", "four"),
        Passage("test-0-0", "", "one"),
        Passage("test-0-1", "", "two"),
        Passage("test-1-0", "", "three"),
    ]
    assert list(source.queries()) == [
        Query("e", "fourth?"),
        Query("a", "first?"),
        Query("b", "second?"),
        Query("c", "third?"),
        Rejected("d", "test.json:3", "empty_text"),
    ]
    assert list(source.judgements("test")) == [
        Judgement("a", "test-0-0", 1),
        Judgement("b", "test-0-0", 1),
        Judgement("c", "test-1-0", 1),
    ]
    assert list(source.triples()) == [Triple("e", ("train-0-0",), ())]


def test_squad_question_without_an_answer_is_left_out_and_files_may_be_gzip(tmp_path: Path) -> None:
    asked = [question("a", "first?"), {**question("b", "second?"), "is_impossible": True, "answers": []}]
    plain = squad(tmp_path / "t.json", [("one", asked), ("two \ud800", [question("c", "third?")])])
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    source = made({"kind": "squad", "test": str(packed)})
    assert list(source.queries())[:2] == [Query("a", "first?"), Rejected("b", "t.json.gz:1", "no_answer")]
    assert [one.query_id for one in _kept(source)] == ["a", "c"]
    assert list(source.passages()) == [
        Passage("test-0-0", "", "one"),
        Rejected("test-0-1", "t.json.gz:2", "invalid_unicode"),
    ]


def test_squad_without_a_training_file_has_no_triples(tmp_path: Path) -> None:
    source = made({"kind": "squad", "test": squad(tmp_path / "t.json", [("one", [question("a", "first?")])])})
    assert list(source.triples()) == []
    with pytest.raises(ConfigError, match="no such split, known: test"):
        list(source.judgements("train"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"data": [', "is no JSON"),
        ('{"data": []}', "0 rows"),
        ("[]", "column 'data' is missing"),
        ('{"data": [{"paragraphs": [{"text": "x", "qas": []}]}]}', "column 'context' is missing"),
    ],
)
def test_squad_of_another_form_is_refused_before_anything_starts(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        made({"kind": "squad", "test": str(path)}).check()


def test_translations_are_paired_by_line_and_equal_ones_stay_apart(tmp_path: Path) -> None:
    source = translations(tmp_path, ["one", "uno", "", "two"], ["bir", "bir", "boş", "iki"])
    source.check()
    assert list(source.passages()) == [
        Passage("test-1", "", "bir"),
        Passage("test-2", "", "bir"),
        Passage("test-4", "", "iki"),
    ]
    queries = list(source.queries())
    assert [one.id for one in queries] == ["test-1", "test-2", "3", "test-4"]
    assert queries[2] == Rejected("3", "test 3", "empty_text")
    assert [(one.query_id, one.passage_id) for one in _kept(source)] == [
        (name, name) for name in ("test-1", "test-2", "test-4")
    ]


def _kept(source: RetrievalSource) -> list[Judgement]:
    return [one for one in source.judgements("test") if isinstance(one, Judgement)]


def test_translations_to_train_on_are_triples(tmp_path: Path) -> None:
    files = lines(tmp_path / "a", "ten"), lines(tmp_path / "b", "on")
    source = translations(tmp_path, ["one"], ["bir"], files)
    assert source.splits() == ("train", "test")
    assert list(source.triples()) == [Triple("train-1", ("train-1",), ())]
    assert [one.id for one in source.passages()] == ["train-1", "test-1"]


def test_identity_is_the_content_of_the_files(tmp_path: Path) -> None:
    def at(name: str, text: str) -> RetrievalSource:
        (tmp_path / name).mkdir()
        return translations(tmp_path / name, ["one"], [text])

    one, same, other = at("1", "bir"), at("2", "bir"), at("3", "iki")
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_shipped_xquad_and_tatoeba_are_read_whole(language_data: Path) -> None:
    squad_source = made({"kind": "squad", "test": str(language_data / "xquad" / "xquad.tr.json")})
    assert len(list(squad_source.passages())) == 240
    assert len(list(squad_source.judgements("test"))) == len(set(squad_source.queries())) == 1190
    folder = language_data / "tatoeba"
    sides = {
        name: {"kind": "lines", "test": str(folder / f"tatoeba.hin-eng.{code}")}
        for name, code in (("given", "hin"), ("wanted", "eng"))
    }
    source = made({"kind": "translations", "pairs": sides})
    assert len(list(source.passages())) == len(list(source.judgements("test"))) == 1000
