"""Translation and headlines: prompts as published, examples from other splits, and one line for one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from descant.core.fingerprint import fingerprint
from descant.data.answers import final_answer, same_answer
from descant.tasks import AnyTask, Task
from descant.tasks.rows import TextRow

SHOTS = {"split": "train", "num": 5, "seed": 42}


def table(path: Path, *rows: str) -> str:
    lines = "".join(f"{number}\tx\t{text}\n" for number, text in enumerate(rows))
    path.write_text(f"index_id\tcategory\ttext\n{lines}", encoding="utf-8")
    return str(path)


def translation(folder: Path, **settings: Any) -> Task:
    names = [f"{word} {{}} {{tgt}}" for word in ("one", "two", "three", "four", "five", "six", "seven")]
    sides = {
        side: {
            "kind": "table",
            "train": table(folder / f"{side}.tsv", *(f"{side} {name}" for name in names)),
            "test": table(folder / f"{side}.test.tsv", f"{side} eight\u00a0 {{src}}", f"{side} {names[2]}"),
        }
        for side in ("given", "wanted")
    }
    values: dict[str, Any] = {"kind": "translation", "name": "t", "given": "English", "wanted": "Hindi"}
    made: Task = TypeAdapter[Task](AnyTask).validate_python(
        {**values, "source": {"kind": "parallel", **sides}, **settings}
    )
    return made


def rows(made: Task, split: Any = "test", *, asked: bool = True) -> list[TextRow]:
    return [row for row in made.rows(split, asked=asked) if isinstance(row, TextRow)]


def test_prompt_names_both_languages_and_the_reference_follows_it(tmp_path: Path) -> None:
    first, _ = rows(translation(tmp_path))
    assert first.prompt == "English: given eight {src}\nHindi:"
    assert first.response == " wanted eight {src}"
    assert first.answer == "wanted eight {src}"


def test_examples_stand_before_the_text_in_the_same_form_whatever_braces_they_hold(tmp_path: Path) -> None:
    first, second = rows(translation(tmp_path, shots=SHOTS))
    *examples, last = first.prompt.split("\n\n")
    assert last == "English: given eight {src}\nHindi:"
    assert len(set(examples)) == 5
    for example in examples:
        given, wanted = example.split("\n")
        assert given.endswith(" {} {tgt}")
        assert wanted == given.replace("English: given", "Hindi: wanted")
    assert "three" not in second.prompt.rpartition("\n\n")[0]


def test_training_has_no_examples(tmp_path: Path) -> None:
    assert rows(translation(tmp_path, shots=SHOTS), "train", asked=False) == rows(
        translation(tmp_path), "train", asked=False
    )


def test_headline_is_a_translation_of_a_summary_with_an_example_of_the_training_split(tmp_path: Path) -> None:
    def file(name: str, *pairs: tuple[str, str]) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(
            "".join(
                json.dumps({"id": "i", "title": title, "summary": summary, "text": "…"}) + "\n"
                for summary, title in pairs
            )
        )
        return str(path)

    source = {
        "kind": "instructions",
        "instruction": "summary",
        "input": None,
        "output": "title",
        "train": file("train", ("S1.", "T1")),
        "validation": file("val", ("S2.", "T2")),
        "test": file("test", ("S3\nmore.", "T3")),
    }
    made = translation(
        tmp_path,
        source=source,
        given="Summary",
        wanted="Title",
        shots={"split": "train", "num": 1, "seed": 1},
    )
    for split, summary in (("validation", "S2."), ("test", "S3 more.")):
        (row,) = rows(made, split)
        assert row.prompt == f"Summary: S1.\nTitle: T1\n\nSummary: {summary}\nTitle:"


def test_answer_is_compared_as_it_stands() -> None:
    assert final_answer("verbatim", " The Sun. ", "") == "The Sun."
    assert final_answer("verbatim", "\n", "") is None
    assert same_answer("verbatim", "The Sun.", "The Sun.")
    assert not same_answer("verbatim", "the sun", "The Sun.")


@pytest.mark.parametrize(
    "settings",
    [
        {"measures": ["spbleu"]},
        {"pieces": {"path": "x.model"}},
        {"given": "English:"},
        {"shots": {**SHOTS, "split": "test"}},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        translation(tmp_path, **settings)


def test_pieces_and_measures_change_no_row(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"x")
    made = translation(tmp_path, measures=["spbleu"], pieces={"path": str(tmp_path / "x.model")})
    assert "pieces" not in made.identity()
    assert fingerprint(translation(tmp_path, shots=SHOTS)) != fingerprint(translation(tmp_path))


def test_shipped_sib200_prompts_hold_no_sentence_of_the_test_split_but_their_own(
    language_data: Path, tmp_path: Path
) -> None:
    def side(name: str) -> dict[str, str]:
        folder = language_data / "sib200" / name
        return {"kind": "table", "train": str(folder / "train.tsv"), "test": str(folder / "test.tsv")}

    source = {"kind": "parallel", "given": side("eng_Latn"), "wanted": side("hin_Deva")}
    found = rows(translation(tmp_path, source=source, shots=SHOTS))
    sentences = {row.asked for row in found}
    assert len(found) == 204
    for row in found:
        examples = row.prompt.split("\n\n")
        assert len(examples) == 6
        shown = {one.split("\n")[0].removeprefix("English: ") for one in examples[:5]}
        assert not shown & sentences
