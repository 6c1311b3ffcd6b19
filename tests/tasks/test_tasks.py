"""Tasks: what stands in their rows, and that what is trained is what is scored."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from descant.core.errors import ConfigError, DependencyError
from descant.core.fingerprint import fingerprint
from descant.core.records import Rejected
from descant.data.answers import canonical_answer, final_answer, same_answer
from descant.tasks import AnyTask, Task
from descant.tasks.prompts import LLM_ADAPTERS, METAMATH, PROMPTS, TaskPrompt
from descant.tasks.rows import ClassificationRow, TextRow

ARC = {
    "instruction": "Please choose the correct answer to the question: Which is hot?\n\nAnswer1: ice Answer2: fire "
    "Answer3: snow\n\nAnswer format: answer1/answer2/answer3",
    "input": "",
    "output": "the correct answer is answer2",
    "answer": "answer2",
}
PIQA = {
    "instruction": "Please choose the correct solution to the question: ice box\n\nSolution1: add water\n\n"
    "Solution2: add soda\n\nAnswer format: solution1/solution2",
    "output": "the correct answer is solution1",
    "answer": "solution1",
}
WINOGRANDE = {
    "instruction": "Please choose the correct answer to fill in the blank to complete the given sentence: The _ was "
    "ruined.\n\nOption1: blanket Option2: bed Answer format: option1/option2",
    "output": "the correct answer is option2",
    "answer": "option2",
}
HELLASWAG = {
    "instruction": "Please choose the correct ending to complete the given sentence: Cooking: a man stirs.\n\n"
    "Ending1: He eats. Ending2: He sings. Ending3: He flies. Ending4: He melts.\n\n"
    "Answer format: ending1/ending2/ending3/ending4",
    "output": "the correct answer is ending1",
    "answer": "ending1",
}
BOOLQ = {
    "instruction": "Please answer the following question with true or false, question: is ice cold?\n\n"
    "Answer format: true/false",
    "output": "the correct answer is true",
    "answer": "true",
}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def task(**settings: Any) -> Task:
    made: Task = TypeAdapter[Task](AnyTask).validate_python({"name": "t", **settings})
    return made


def commonsense(path: str, **settings: Any) -> Task:
    return task(kind="multiple_choice", source={"kind": "commonsense", "test": path}, **settings)


def only(made: Task, *, asked: bool = True, split: Any = "test") -> Any:
    (row,) = made.rows(split, asked=asked)
    return row


@pytest.mark.parametrize(
    ("row", "question", "choices", "gold"),
    [
        (ARC, "Which is hot?", ["ice", "fire", "snow"], 1),
        (PIQA, "ice box", ["add water", "add soda"], 0),
        (WINOGRANDE, "The _ was ruined.", ["blanket", "bed"], 1),
        (HELLASWAG, "Cooking: a man stirs.", ["He eats.", "He sings.", "He flies.", "He melts."], 0),
        (BOOLQ, "is ice cold?", ["true", "false"], 0),
    ],
)
def test_commonsense_by_likelihood_asks_the_question_and_learns_the_choice(
    row: dict[str, str], question: str, choices: list[str], gold: int, tmp_path: Path
) -> None:
    found = only(commonsense(write(tmp_path / "t.jsonl", [row]), by="likelihood"))
    assert found.prompt == f"Question: {question}\nAnswer:"
    assert found.choices == tuple(f" {choice}" for choice in choices)
    assert (found.gold, found.response, found.answer) == (gold, f" {choices[gold]}", row["answer"])


def test_commonsense_by_generation_learns_the_published_answer(tmp_path: Path) -> None:
    made = commonsense(write(tmp_path / "t.jsonl", [ARC]), by="generation", prompt="llm_adapters")
    found = only(made)
    assert found.prompt.endswith(f"### Instruction:\n{ARC['instruction']}\n\n### Response:")
    assert found.response == found.choices[found.gold] == f"\n{ARC['output']}"
    assert same_answer("named", final_answer("named", found.response, found.answer), found.answer)
    assert made.facts() == {"family": "text", "scored_by": "generation", "answer_form": "named"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "answer4"}, "unknown_label"),
        ({"instruction": "Which is hot? Answer format: answer1/answer2"}, "no_choices"),
        ({"instruction": "Which is hot?"}, "no_choices"),
    ],
)
def test_commonsense_row_that_cannot_be_read_is_rejected(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    found = only(commonsense(write(tmp_path / "t.jsonl", [ARC | change]), by="likelihood"))
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_gsm8k_is_asked_step_by_step_and_trained_without(tmp_path: Path) -> None:
    rows = [{"question": "2 + 2?", "answer": "It is 2+2=<<2+2=4>>4.\n#### 1,004"}]
    source = {"kind": "gsm8k", "train": write(tmp_path / "a.jsonl", rows)}
    made = task(kind="open_answer", source=source, answer="number", prompt="metamath")
    trained, asked = only(made, asked=False, split="train"), only(made, split="train")
    assert trained.prompt.endswith("### Instruction:\n2 + 2?\n\n### Response:")
    assert asked.prompt == trained.prompt + " Let's think step by step."
    assert trained.response == asked.response == " It is 2+2=4.\n#### 1,004"
    assert (trained.answer, trained.choices, trained.gold) == ("1004", (), -1)


def test_math_answer_is_the_last_box_in_one_spelling(tmp_path: Path) -> None:
    rows = [{"problem": "p", "solution": "\\boxed{3}, so $\\boxed{\\dfrac{1}{2}}$."}]
    source = {"kind": "math", "test": write(tmp_path / "a.jsonl", rows)}
    assert only(task(kind="open_answer", source=source, answer="latex")).answer == "\\frac{1}{2}"


def test_metamath_trains_gsm8k_under_its_own_column_names(tmp_path: Path) -> None:
    train = [{"query": "q", "response": "Steps.\nThe answer is: 7", "type": "GSM_SV"}]
    test = [{"question": "r", "answer": "#### 8"}]
    made = task(
        kind="open_answer",
        answer="number",
        source={"kind": "gsm8k", "test": write(tmp_path / "b.jsonl", test)},
        train_source={
            "kind": "instructions",
            "instruction": "query",
            "output": "response",
            "train": write(tmp_path / "a.jsonl", train),
        },
    )
    assert made.splits() == ("train", "test")
    assert only(made, split="train", asked=False).answer == "7"
    assert only(made).answer == "8"


def test_instruction_without_answer_is_learned_but_not_asked(tmp_path: Path) -> None:
    source = {
        "kind": "instructions",
        "train": write(tmp_path / "a.jsonl", [{"instruction": "i", "output": "no number"}]),
    }
    made = task(kind="open_answer", source=source, answer="number")
    assert only(made, split="train", asked=False).answer == ""
    assert only(made, split="train").reason == "no_answer"


def test_aqua_letters_are_answers_by_generation_and_texts_by_likelihood(tmp_path: Path) -> None:
    rows = [{"question": "5 + 5?", "options": ["A)10", "B)20"], "rationale": "Add.", "correct": "A"}]
    source = {"kind": "aqua_rat", "test": write(tmp_path / "a.jsonl", rows)}
    generated = only(task(kind="multiple_choice", by="generation", source=source))
    assert generated.prompt == "Question: 5 + 5?\nAnswer choices:\n(A) 10\n(B) 20\nAnswer:"
    assert (generated.response, generated.answer) == (" Add.\nThe answer is (A).", "A")
    assert (generated.choices, generated.gold) == ((), -1)
    likely = only(task(kind="multiple_choice", by="likelihood", source=source))
    assert (likely.choices, likely.response, likely.gold) == ((" 10", " 20"), " 10", 0)


def test_chat_response_is_the_last_turn(tmp_path: Path) -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "2+2?"),
        ("assistant", "4"),
    ]
    rows = [
        {"messages": [{"role": r, "content": c} for r, c in turns]},
        {"messages": [{"role": r, "content": c} for r, c in turns[:2]]},
        {"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}]},
    ]
    source = {"kind": "chats", "train": write(tmp_path / "a.jsonl", rows)}
    long, broken, short = task(kind="open_answer", source=source, answer="number").rows("train", asked=True)
    assert isinstance(long, TextRow)
    assert isinstance(short, TextRow)
    assert long.prompt == ("Question: System: Be brief.\nUser: Hi\nAssistant: Hello\nUser: 2+2?\nAnswer:")
    assert (long.response, long.answer) == (" 4", "4")
    assert isinstance(broken, Rejected)
    assert broken.reason == "no_response"
    assert short.prompt == "Question: 2+3?\nAnswer:"


def test_labels_are_numbers_names_or_digits_in_text(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": 1},
        {"text": "b", "label": 0},
        {"text": "c", "label": 2},
        {"text": " ", "label": 0},
    ]
    source = {
        "kind": "labelled_text",
        "format": "jsonl",
        "labels": ["no", "yes"],
        "test": write(tmp_path / "a.jsonl", rows),
    }
    first, second, third, fourth = task(kind="classification", source=source).rows("test", asked=True)
    assert isinstance(first, ClassificationRow)
    assert isinstance(second, ClassificationRow)
    assert (first.label, second.label) == (1, 0)
    assert isinstance(third, Rejected)
    assert isinstance(fourth, Rejected)
    assert (third.reason, fourth.reason) == ("unknown_label", "empty_text")


def test_labels_left_out_are_those_of_the_training_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("s1,s2,label\na,b,10\nc,d,2\n")
    (tmp_path / "test.tsv").write_text("s1\ts2\tlabel\na\tb\t2\n")
    source = {"kind": "labelled_text", "text": "s1", "pair": "s2", "train": str(tmp_path / "train.csv")}
    made = task(kind="classification", source={**source, "format": "csv"})
    assert made.facts()["labels"] == [str(number) for number in range(11)]
    named = [{"s": "a", "y": "maybe"}, {"s": "b", "y": "entailment"}]
    path = write(tmp_path / "a.jsonl", named)
    source = {"kind": "labelled_text", "format": "jsonl", "text": "s", "label": "y", "train": path}
    assert task(kind="classification", source=source).facts()["labels"] == ["entailment", "maybe"]


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "label": "x"}])
    made = task(kind="classification", source={"kind": "labelled_text", "format": "jsonl", "train": path})
    with pytest.raises(ConfigError, match="expected two or more"):
        made.check()


def test_choices_of_columns_are_numbered_or_lettered(tmp_path: Path) -> None:
    rows = [{"ctx": "A man", "endings": ["sits.", "flies."], "label": 1}]
    source = {
        "kind": "choices",
        "question": "ctx",
        "choices": "endings",
        "test": write(tmp_path / "a.jsonl", rows),
    }
    found = only(task(kind="multiple_choice", by="likelihood", prompt="continuation", source=source))
    assert (found.prompt, found.choices, found.gold, found.answer) == ("A man", (" sits.", " flies."), 1, "B")


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_prompt_ends_where_the_response_begins(prompt: TaskPrompt) -> None:
    for text in (prompt.train_prompt("i {x} "), prompt.asked_prompt("i", " given\n")):
        assert text == text.rstrip()
    assert prompt.response(" r ") == prompt.before_response + "r"
    assert "{x}" in prompt.train_prompt("{x}")


def test_published_prompts_are_alpacas() -> None:
    assert METAMATH.asked_prompt("2 + 2?") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n2 + 2?\n\n### Response: Let's think step by step."
    )
    assert LLM_ADAPTERS.train_prompt("do", "this") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n### Instruction:\ndo\n\n### Input:\nthis"
        "\n\n### Response:"
    )


def test_prompt_that_ends_in_space_or_has_no_such_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="belongs into before_response"):
        TaskPrompt(without_input="{instruction} ", with_input="{instruction} {input}", before_response="")
    with pytest.raises(ValidationError, match="known: plain"):
        commonsense("x", by="likelihood", prompt="nothing")


def test_measure_that_its_way_of_scoring_cannot_give_is_refused() -> None:
    with pytest.raises(ValidationError, match="accuracy_per_byte compares likelihoods"):
        commonsense("x", by="generation", measures=["accuracy_per_byte"])


def test_task_is_pinned_by_its_bytes_wherever_they_lie(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.jsonl", [ARC]), write(tmp_path / "b.jsonl", [ARC])
    assert fingerprint(commonsense(one, by="likelihood")) == fingerprint(commonsense(other, by="likelihood"))
    write(tmp_path / "b.jsonl", [PIQA])
    assert fingerprint(commonsense(one, by="likelihood")) != fingerprint(commonsense(other, by="likelihood"))


def test_hub_file_is_pinned_by_commit_and_identified_without_being_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    location = f"hf://datasets/openai/gsm8k@{commit}/main/train-00000-of-00001.parquet"
    made = task(kind="open_answer", answer="number", source={"kind": "gsm8k", "test": location})
    assert location in json.dumps(made.model_dump())
    assert fingerprint(made)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DependencyError, match="HF_HUB_OFFLINE"):
        made.check()
    with pytest.raises(ValidationError, match="branches and tags move"):
        task(
            kind="open_answer",
            answer="number",
            source={"kind": "gsm8k", "test": location.replace(commit, "main")},
        )


def test_two_splits_of_one_file_are_refused() -> None:
    with pytest.raises(ValidationError, match="the same file"):
        task(kind="open_answer", answer="number", source={"kind": "gsm8k", "test": "a", "train": "a"})


def test_shipped_gsm8k_answers_are_found_in_their_own_solutions(data_folder: Path) -> None:
    source = {"kind": "gsm8k", "test": str(data_folder / "math" / "gsm8k" / "test_dev.jsonl")}
    rows = list(task(kind="open_answer", answer="number", source=source).rows("test", asked=True))
    assert len(rows) == 660
    for row in rows:
        assert isinstance(row, TextRow)
        assert same_answer("number", final_answer("number", row.response, row.answer), row.answer)
        assert canonical_answer("number", row.answer) == row.answer


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("arc-easy", "test_dev", 1188),
        ("arc-challenge", "test_dev", 586),
        ("boolq", "test_dev", 1635),
        ("piqa", "test_dev", 919),
        ("winogrande", "test_dev", 627),
    ],
)
def test_every_commonsense_row_has_its_choices(name: str, file: str, count: int, data_folder: Path) -> None:
    made = commonsense(str(data_folder / "commonsense" / name / f"{file}.jsonl"), by="likelihood")
    rows = list(made.rows("test", asked=True))
    assert len(rows) == count
    assert all(isinstance(row, TextRow) and len(row.choices) >= 2 for row in rows)
