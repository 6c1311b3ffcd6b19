"""Solved examples before a question: where they come from, and that no row is its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from descant.core.errors import ConfigError, DataError
from descant.core.fingerprint import fingerprint
from descant.core.records import Rejected
from descant.tasks import AnyTask, Task
from descant.tasks.rows import TextRow
from descant.tasks.shots import Shots

SHOTS = Shots(split="train", num=2, seed=3)


def row(number: int, asked: str | None = None) -> TextRow:
    asked = f"q{number}" if asked is None else asked
    return TextRow(f"id{number}", f"Q: {asked}\nA:", f" r{number}", f"r{number}", (), -1, asked)


def prompts(rows: Sequence[TextRow | Rejected], solved: Sequence[TextRow | Rejected]) -> list[str]:
    return [one.prompt for one in SHOTS.before(rows, solved) if isinstance(one, TextRow)]


def multiple_choice(folder: Path, test: Sequence[dict[str, Any]], **settings: Any) -> Task:
    train = [{"question": f"Is {{it}} {n}?", "choices": ["yes", "no"], "label": n % 2} for n in range(6)]
    for name, rows in (("train", train), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    source = {"kind": "choices", **{name: str(folder / f"{name}.jsonl") for name in ("train", "test")}}
    values = {"kind": "multiple_choice", "name": "t", "by": "likelihood", "source": source, **settings}
    made: Task = TypeAdapter[Task](AnyTask).validate_python(values)
    return made


def test_examples_are_prompts_with_their_responses_joined_by_blank_lines() -> None:
    (prompt,) = prompts([row(9)], [row(1), row(2)])
    assert prompt in (
        "Q: q1\nA: r1\n\nQ: q2\nA: r2\n\nQ: q9\nA:",
        "Q: q2\nA: r2\n\nQ: q1\nA: r1\n\nQ: q9\nA:",
    )


def test_no_row_is_its_own_example_even_under_another_id() -> None:
    solved = [row(n) for n in range(4)]
    rows = [*solved, row(8, asked="Q1 "), row(9, asked="q2")]
    for one, prompt in zip(rows, prompts(rows, solved), strict=True):
        before = prompt.removesuffix(one.prompt)
        assert before.count("Q: ") == 2
        assert one.asked.strip().casefold() not in before


def test_examples_depend_on_seed_and_row_and_not_on_the_order_of_files() -> None:
    solved, rows = [row(n) for n in range(40)], [row(n) for n in range(50, 60)]
    found = prompts(rows, solved)
    assert prompts(rows[::-1], solved[::-1]) == found[::-1]
    assert len({prompt.split("Q: q5")[0] for prompt in found}) == len(found)
    other = SHOTS.model_copy(update={"seed": 4})
    assert [one.prompt for one in other.before(rows, solved) if isinstance(one, TextRow)] != found


def test_one_question_is_not_shown_twice() -> None:
    with pytest.raises(DataError, match="found 1 other examples, expected 2"):
        prompts([row(9)], [row(1), row(2, asked="q1")])


def test_rejected_rows_pass_and_are_no_examples() -> None:
    rejected = Rejected("x", "f:1", "empty_text")
    assert list(SHOTS.before([rejected], [row(1), rejected])) == [rejected]


def test_examples_from_the_test_split_are_refused() -> None:
    with pytest.raises(ValidationError):
        Shots(split="test", num=1, seed=0)


def test_choice_questions_are_asked_behind_examples_and_trained_without(tmp_path: Path) -> None:
    asked = [{"question": "Is {x} {}?", "choices": ["{yes}", "no"], "label": 0}]
    made = multiple_choice(tmp_path, asked, shots={"split": "train", "num": 2, "seed": 1})
    (found,) = made.rows("test", asked=True)
    assert isinstance(found, TextRow)
    assert found.prompt.endswith("\n\nQuestion: Is {x} {}?\nAnswer:")
    assert found.prompt.count("Question: Is {it} ") == 2
    assert found.choices == (" {yes}", " no")
    for one in made.rows("train", asked=False):
        assert isinstance(one, TextRow)
        assert one.prompt.count("Question:") == 1


def test_choice_questions_without_examples_keep_their_address(tmp_path: Path) -> None:
    asked = [{"question": "q", "choices": ["a", "b"], "label": 0}]
    plain = multiple_choice(tmp_path, asked)
    assert "shots" not in plain.identity()
    assert fingerprint(plain) != fingerprint(
        multiple_choice(tmp_path, asked, shots={"split": "train", "num": 2, "seed": 1})
    )


def test_examples_of_a_split_that_is_not_there_are_refused(tmp_path: Path) -> None:
    asked = [{"question": "q", "choices": ["a", "b"], "label": 0}]
    with pytest.raises(ConfigError, match="no such split"):
        multiple_choice(tmp_path, asked, shots={"split": "validation", "num": 2, "seed": 1}).check()


def test_choices_that_are_sentences_stand_by_themselves_behind_their_examples(tmp_path: Path) -> None:
    def file(name: str, letters: str) -> str:
        rows = [f"en\tentailment\tP{c}.\tH{c}.\n" for c in letters]
        (tmp_path / name).write_text("language\tgold_label\tsentence1\tsentence2\n" + "".join(rows))
        return str(tmp_path / name)

    source = {
        "kind": "xnli",
        "language": "en",
        "validation": file("dev.tsv", "ab"),
        "test": file("t.tsv", "c"),
    }
    values = {"kind": "multiple_choice", "name": "xnli", "by": "likelihood", "source": source}
    alone, behind = (
        next(TypeAdapter[Task](AnyTask).validate_python({**values, **more}).rows("test", asked=True))
        for more in ({}, {"shots": {"split": "validation", "num": 2, "seed": 1}})
    )
    assert isinstance(alone, TextRow)
    assert isinstance(behind, TextRow)
    assert alone.prompt == ""
    assert alone.response == alone.choices[0] == "Pc., right? Yes, Hc."
    assert sorted(behind.prompt.split("\n\n")) == ["", "Pa., right? Yes, Ha.", "Pb., right? Yes, Hb."]
    assert behind.choices == alone.choices
    assert alone.key
