"""Questions with choices in other languages: each published layout, and what the published code gets wrong of it."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from descant.core.errors import ConfigError
from descant.core.records import Rejected
from descant.data.exams import Exams
from descant.data.items import ChoiceQuestion
from descant.data.languages import WORDS, LanguageCode, continued, without_end
from descant.data.mlama import Mlama
from descant.data.named_classes import NamedClasses
from descant.data.story_cloze import StoryCloze
from descant.data.xcopa import Xcopa
from descant.data.xnli import Xnli


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def tsv(path: Path, *rows: str) -> str:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def found(items: Iterator[ChoiceQuestion | Rejected]) -> list[ChoiceQuestion]:
    kept = []
    for item in items:
        assert isinstance(item, ChoiceQuestion), item
        kept.append(item)
    return kept


def reasons(items: Iterator[ChoiceQuestion | Rejected]) -> list[str]:
    return [item.reason if isinstance(item, Rejected) else "" for item in items]


CAUSE = {"premise": "Ürün paketlenmişti.", "choice1": "Kırılgandı.", "choice2": "İnceydi.", "label": 1}


@pytest.mark.parametrize(("asked", "connector"), [("cause", "çünkü"), ("effect", "bu yüzden")])
def test_xcopa_premise_goes_on_with_its_connector(asked: str, connector: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{**CAUSE, "question": asked}])
    (item,) = found(Xcopa(language="tr", test=path).items("test"))
    assert item.question == f"Ürün paketlenmişti {connector}"
    assert (item.choices, item.gold) == (("kırılgandı.", "inceydi."), 1)


def test_xcopa_premise_without_punctuation_keeps_its_last_letter(tmp_path: Path) -> None:
    row = {"premise": "கரையான்கள் படையெடுத்தன", "choice1": "அ", "choice2": "ஆ", "question": "cause", "label": 0}
    (item,) = found(Xcopa(language="ta", test=jsonl(tmp_path / "a.jsonl", [row])).items("test"))
    assert item.question == "கரையான்கள் படையெடுத்தன காரணமாக"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": "why"}, "unknown_question"),
        ({"label": 2}, "unknown_label"),
        ({"premise": "."}, "empty_text"),
        ({"choice1": " "}, "no_choices"),
    ],
)
def test_xcopa_row_that_cannot_be_read_is_rejected(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{**CAUSE, "question": "cause", **change}])
    assert reasons(Xcopa(language="tr", test=path).items("test")) == [reason]


@pytest.mark.parametrize(
    ("text", "language", "small"),
    [("Isındı.", "tr", "ısındı."), ("İnce.", "tr", "ince."), ("It is.", "en", "it is."), ("", "tr", "")],
)
def test_continued_sentence_has_a_small_letter_of_its_language(
    text: str, language: LanguageCode, small: str
) -> None:
    assert continued(text, language) == small


@pytest.mark.parametrize("end", [".", "!", "?", "।", "؟", "...", " . "])
def test_end_of_a_sentence_is_taken_off_with_nothing_of_its_words(end: str) -> None:
    assert without_end(f"A (b){end}") == "A (b)"


def test_arabic_no_is_not_the_word_for_a_number(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", "language\tgold_label\tsentence1\tsentence2", "ar\tcontradiction\tأ\tب")
    (item,) = found(Xnli(language="ar", test=path).items("test"))
    assert item.choices[item.gold] == "أ, صحيح? لا, ب"
    assert all("رقم" not in choice for choice in item.choices)
    assert len({WORDS["ar"].yes, WORDS["ar"].also, WORDS["ar"].no}) == 3


XNLI = (
    "language\tgold_label\tsentence1\tsentence2\tgenre",
    'en\tneutral\tHe said "no.\tHe left.\tfiction',
    "tr\tentailment\tGeldi.\tO geldi.\tfiction",
    "en\t-\tHe came.\tHe left.\tfiction",
    "en\tentailment\t\tHe left.\tfiction",
)


def test_xnli_reads_one_language_of_the_published_file_as_whole_sentences(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", *XNLI)
    items = list(Xnli(language="en", test=path).items("test"))
    assert reasons(iter(items)) == ["", "unknown_label", "empty_text"]
    assert isinstance(items[0], ChoiceQuestion)
    assert (items[0].question, items[0].gold) == ("", 1)
    assert items[0].choices == tuple(
        f'He said "no., right? {word}, He left.' for word in ("Yes", "Also", "No")
    )


def test_xnli_of_json_lines_has_columns_and_numbers_of_its_own(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"premise": "अ", "hypothesis": "ब", "label": 2}])
    source = Xnli(
        format="jsonl", language="hi", premise="premise", hypothesis="hypothesis", label="label", test=path
    )
    (item,) = found(source.items("test"))
    assert item.choices[item.gold] == "अ, सही? नहीं, ब"


EXAM = {
    "id": "e1",
    "question": {"stem": "Which?", "choices": [{"text": "one", "label": "А"}, {"text": "two", "label": "Б"}]},
    "answerKey": "Б",
    "info": {"grade": 12},
}


def test_exams_choices_are_called_by_their_place_whatever_the_alphabet(tmp_path: Path) -> None:
    (item,) = found(Exams(test=jsonl(tmp_path / "a.jsonl", [EXAM])).items("test"))
    assert (item.id, item.question, item.choices) == ("e1", "Which?", ("one", "two"))
    assert (item.names, item.gold) == (("A", "B"), 1)


def test_exams_withdrawn_question_is_rejected(tmp_path: Path) -> None:
    stemless = {**EXAM, "id": "e3", "question": {**EXAM["question"], "stem": " "}}  # type: ignore[dict-item]
    rows = [{**EXAM, "answerKey": "@"}, stemless]
    assert reasons(Exams(test=jsonl(tmp_path / "a.jsonl", rows)).items("test")) == [
        "unknown_label",
        "empty_text",
    ]


def test_story_has_four_sentences_and_two_endings(tmp_path: Path) -> None:
    columns = [f"InputSentence{n}" for n in range(1, 5)] + [f"RandomFifthSentenceQuiz{n}" for n in (1, 2)]
    header = "\t".join(["InputStoryid", *columns, "AnswerRightEnding"])
    rows = ["s1\tA.\tB.\tC.\tD.\tE.\tF.\t2", "s2\tA.\tB.\tC.\tD.\tE.\tF.\t0", "s3\tA.\t\tC.\tD.\tE.\tF.\t1"]
    items = list(StoryCloze(test=tsv(tmp_path / "a.tsv", header, *rows)).items("test"))
    assert reasons(iter(items)) == ["", "unknown_label", "empty_text"]
    assert isinstance(items[0], ChoiceQuestion)
    assert (items[0].question, items[0].choices, items[0].gold) == ("A. B. C. D.", ("E.", "F."), 1)


def fact(
    subject: str, thing: str, relation: str = "P36", template: str = "[Y] is in [X] ."
) -> dict[str, str]:
    return {"predicate_id": relation, "template": template, "sub_label": subject, "obj_label": thing}


FACTS = [
    fact("France", "Paris"),
    fact("Italy", "Rome"),
    fact("Japan", "Tokyo"),
    fact("Bolivia", "Sucre"),
    fact("Bolivia", "La Paz"),
    fact("Goethe", "poet", relation="P106"),
    fact("[Y]", "[X]", template="[X] and [Y]"),
    fact("Peru", "Lima", template="[X] is"),
]


def test_mlama_distractors_are_wrong_objects_of_the_same_relation(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", FACTS)
    items = list(Mlama(seed=1, test=path).items("test"))
    assert reasons(iter(items)) == ["", "", "", "", "", "no_choices", "", "no_template"]
    capitals = {"Paris", "Rome", "Tokyo", "Sucre", "La Paz", "[X]", "Lima"}
    for row, item in zip(FACTS[:5], items, strict=False):
        assert isinstance(item, ChoiceQuestion)
        subject = row["sub_label"]
        assert item.choices[item.gold] == f"{row['obj_label']} is in {subject} ."
        assert len(set(item.choices)) == 4
        named = {choice.removesuffix(f" is in {subject} .") for choice in item.choices}
        assert named <= capitals
        if subject == "Bolivia":
            assert len(named & {"Sucre", "La Paz"}) == 1
    assert isinstance(items[6], ChoiceQuestion)
    assert items[6].choices[items[6].gold] == "[Y] and [X]"


def test_mlama_right_sentence_has_no_place_of_its_own_and_the_seed_draws(tmp_path: Path) -> None:
    rows = [fact(f"s{n}", f"o{n}") for n in range(60)]
    one = found(Mlama(seed=1, test=jsonl(tmp_path / "a.jsonl", rows)).items("test"))
    turned = found(Mlama(seed=1, test=jsonl(tmp_path / "b.jsonl", rows[::-1])).items("test"))
    other = found(Mlama(seed=2, test=jsonl(tmp_path / "c.jsonl", rows)).items("test"))
    assert {item.gold for item in one} == {0, 1, 2, 3}
    assert turned[::-1] == one
    assert other != one


def test_named_classes_are_the_choices_of_each_text(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", "index_id\tcategory\ttext", "7\tsports\tA goal.", "8\ttravel\tA train.")
    source = NamedClasses(format="tsv", id="index_id", label="category", train=path)
    first, second = found(source.items("train"))
    assert (first.id, first.question, first.choices, first.gold) == ("7", "A goal.", ("sports", "travel"), 0)
    assert second.gold == 1
    assert second.instruction == "A train.\nAnswer choices:\n(A) sports\n(B) travel"


def test_more_classes_than_letters_are_refused(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", "label\ttext", *(f"c{n}\ttext {n}" for n in range(27)))
    with pytest.raises(ConfigError, match="found 27 classes"):
        list(NamedClasses(format="tsv", train=path).items("train"))


@pytest.mark.parametrize(("language", "split", "num"), [("tr", "val", 100), ("ta", "test_dev", 250)])
def test_shipped_xcopa_is_read_whole_and_no_word_is_cut(
    language: LanguageCode, split: str, num: int, language_data: Path
) -> None:
    path = language_data / "xcopa" / f"{split}.{language}.jsonl"
    items = found(Xcopa(language=language, test=str(path)).items("test"))
    premises = [json.loads(line)["premise"] for line in path.read_text("utf-8").splitlines()]
    assert len(items) == num
    for item, premise in zip(items, premises, strict=True):
        last_word = "".join(c for c in premise.split()[-1] if not unicodedata.category(c).startswith("P"))
        assert last_word in item.question.split()


def test_shipped_exams_lose_a_withdrawn_and_an_empty_question(language_data: Path) -> None:
    source = Exams(**{s: str(language_data / "exams" / f"{f}.tr.jsonl") for s, f in _EXAMS.items()})
    assert [reason for reason in reasons(source.items("train")) if reason] == [
        "empty_text",
        "unknown_label",
    ]
    assert len(found(source.items("validation"))) == 240


_EXAMS: dict[str, Any] = {"train": "train", "validation": "dev"}


@pytest.mark.parametrize("language", ["hin_Deva", "tur_Latn", "tam_Taml", "arb_Arab", "eng_Latn"])
def test_shipped_sib200_has_the_same_topics_in_every_language(language: str, language_data: Path) -> None:
    folder = language_data / "sib200"
    columns: dict[str, Any] = {"format": "tsv", "id": "index_id", "label": "category"}
    source = NamedClasses(**columns, train=str(folder / language / "train.tsv"))
    english = NamedClasses(**columns, train=str(folder / "eng_Latn" / "train.tsv"))
    topics = {item.id: item.choices[item.gold] for item in found(source.items("train"))}
    assert len(topics) == 701
    assert len(source.label_names()) == 7
    assert topics == {item.id: item.choices[item.gold] for item in found(english.items("train"))}
