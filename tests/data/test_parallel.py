"""Texts in two languages, by id and by line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from descant.core.errors import DataError
from descant.core.fingerprint import fingerprint
from descant.core.records import Rejected
from descant.data.items import Instruction
from descant.data.parallel import Parallel


def source(given: dict[str, str], wanted: dict[str, str]) -> Parallel:
    made: Parallel = TypeAdapter(Parallel).validate_python({"given": given, "wanted": wanted})
    return made


def table(path: Path, rows: Sequence[tuple[str, str]], split: str = "test") -> dict[str, str]:
    lines = ["index_id\tcategory\ttext", *(f"{i}\tsports\t{text}" for i, text in rows)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {"kind": "table", split: str(path)}


def lines(path: Path, *texts: str) -> dict[str, str]:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return {"kind": "lines", "test": str(path)}


def pairs(made: Parallel, split: Any = "test") -> list[tuple[str, ...]]:
    return [
        (one.id, one.reason) if isinstance(one, Rejected) else (one.id, one.instruction, one.response)
        for one in made.items(split)
    ]


def test_rows_are_paired_by_id_in_any_order(tmp_path: Path) -> None:
    given = table(tmp_path / "en.tsv", [("7", "seven"), ("01", "one"), ("3", "three"), ("4", " ")])
    wanted = table(tmp_path / "tr.tsv", [("01", "bir"), ("9", "dokuz"), ("7", "yedi"), ("4", "dört")])
    assert pairs(source(given, wanted)) == [
        ("7", "seven", "yedi"),
        ("01", "one", "bir"),
        ("3", "no_pair"),
        ("4", "empty_text"),
        ("9", "no_pair"),
    ]


def test_lines_are_paired_by_their_number(tmp_path: Path) -> None:
    made = source(lines(tmp_path / "a", "one", "", "th\u2028ree"), lines(tmp_path / "b", "bir", "iki", "üç"))
    assert pairs(made) == [("1", "one", "bir"), ("2", "empty_text"), ("3", "th\u2028ree", "üç")]


def test_files_of_lines_that_differ_in_length_are_refused(tmp_path: Path) -> None:
    made = source(lines(tmp_path / "a", "one", "two"), lines(tmp_path / "b", "bir"))
    with pytest.raises(DataError, match="found 2 and 1 lines"):
        pairs(made)


def test_only_splits_of_both_sides_are_there(tmp_path: Path) -> None:
    given = {**table(tmp_path / "a.tsv", [("1", "a")]), "train": str(tmp_path / "b.tsv")}
    made = source(given, table(tmp_path / "c.tsv", [("1", "b")]))
    assert made.splits() == made.splits_here() == ("test",)


def test_identity_is_the_content_of_both_files(tmp_path: Path) -> None:
    def at(name: str, text: str) -> Parallel:
        (tmp_path / name).mkdir()
        given = table(tmp_path / name / "a.tsv", [("1", "a")])
        return source(given, table(tmp_path / name / "b.tsv", [("1", text)]))

    one, same, other = at("1", "x"), at("2", "x"), at("3", "y")
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


@pytest.mark.parametrize("language", ["hin_Deva", "tur_Latn", "tam_Taml", "arb_Arab"])
def test_shipped_sib200_pairs_every_sentence(language: str, language_data: Path) -> None:
    def side(name: str) -> dict[str, str]:
        folder = language_data / "sib200" / name
        return {"kind": "table", "train": str(folder / "train.tsv"), "test": str(folder / "test.tsv")}

    made = source(side("eng_Latn"), side(language))
    for split, num in (("train", 701), ("test", 204)):
        items = list(made.items(split))  # type: ignore[arg-type]
        assert len(items) == num
        assert all(isinstance(one, Instruction) for one in items)
