r"""Final answers: hand-made awkward cases, and properties over arbitrary text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descant.data.answers import AnswerForm, canonical_answer, final_answer, same_answer
from descant.data.answers.latex import boxed, normalise_latex, same_latex
from descant.data.answers.numbers import number_answer

NUMBERS = [
    ("She sells 9 eggs.\n#### 18", "18"),
    ("#### 1,080", "1080"),
    ("#### 109,200,000", "109200000"),
    ("The answer is 42.", "42"),
    ("The answer is: 42", "42"),
    ("the answer is $1,234,567.", "1234567"),
    ("The answer is \\$1{,}234.", "1234"),
    ("The answer is $3.50.", "3.5"),
    ("The answer is .5", "0.5"),
    ("The answer is 0.50 dollars", "0.5"),
    ("The answer is 75%.", "75"),
    ("The answer is 75\\%.", "75"),
    ("The answer is -7.", "-7"),
    ("The answer is \u22127 degrees", "-7"),
    ("The answer is -$5", "-5"),
    ("The answer is $-5", "-5"),
    ("The answer is 3/4.", "0.75"),
    ("The answer is 1/3 of the cake", "1/3"),
    ("The answer is \\frac{3}{4}", "0.75"),
    ("The answer is 2\\frac{1}{2}", "2.5"),
    ("The answer is 2 1/2 cups", "2.5"),
    ("The answer is 2½ cups", "2.5"),
    ("The answer is 1.5e3", "1500"),
    ("The answer is 1.5 x 10^3 m", "1500"),
    ("The answer is 2 \\times 10^{-2}", "0.02"),
    ("The answer is 42 dollars for 3 people.", "42"),
    ("The answer is 5 + 3 = 8", "8"),
    ("The answer is: x = 12", "12"),
    ("The answer is $\\boxed{12}$", "12"),
    ("**Answer: 17**", "17"),
    ("Final answer = 6", "6"),
    ("The answer is 4. Wait, that is wrong. The answer is 5.", "5"),
    ("The answer is 72\nQ: What is 3 + 4?", "72"),
    ("So 10 - 5 = 5 apples and then 3 pears", "3"),
    ("between 5-10", "10"),
    ("10-5", "5"),
    ("He pays $18 in CO2 tax", "18"),
    ("It weighs 42kg", "42"),
    ("That makes 1,200.50 in total.", "1200.5"),
    ("He has 12, 15, and 20 marbles", "20"),
    ("#### 3,000.00", "3000"),
    ("The answer is forty", None),
    ("The answer is unknown, but 3 fits", "3"),
    ("no number here", None),
    ("", None),
    ("The answer is 5/0", None),
    ("The answer is 007", "7"),
    ("The answer is 1000000000000000000000001", "1000000000000000000000001"),
    ("1" * 5000, None),
    ("The answer is 1e999999", None),
]
LATEX = [
    ("so \\boxed{5}", "5"),
    ("\\boxed{1} no, \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
    ("\\fbox{7}", "7"),
    ("$\\boxed 9$", "9"),
    ("\\boxed{\\dfrac{3}{4}}", "\\frac{3}{4}"),
    ("\\boxed{\\tfrac34}", "\\frac{3}{4}"),
    ("\\boxed{\\frac1{72}}", "\\frac{1}{72}"),
    ("\\boxed{3/4}", "\\frac{3}{4}"),
    ("\\boxed{\\frac{-1}{2}}", "-\\frac{1}{2}"),
    ("\\boxed{.5}", "0.5"),
    ("\\boxed{0.50}", "0.5"),
    ("\\boxed{5.0}", "5"),
    ("\\boxed{0.5}", "\\frac{1}{2}"),
    ("\\boxed{1,234}", "1234"),
    ("\\boxed{1{,}234}", "1234"),
    ("\\boxed{10\\,000}", "10000"),
    ("\\boxed{\\sqrt3}", "\\sqrt{3}"),
    ("\\boxed{2\\sqrt 3}", "2\\sqrt{3}"),
    ("\\boxed{\\left(3, \\frac{\\pi}{2}\\right)}", "(3,\\frac{\\pi}{2})"),
    ("\\boxed{(-\\infty, 3]}", "(-\\infty,3]"),
    ("\\boxed{\\{1, 2, 3\\}}", "\\{1,2,3\\}"),
    ("\\boxed{90^\\circ}", "90"),
    ("\\boxed{90^{\\circ}}", "90"),
    ("\\boxed{25\\%}", "25"),
    ("\\boxed{\\$12.50}", "12.5"),
    ("\\boxed{x = 4}", "4"),
    ("\\boxed{x \\in [0, 1]}", "[0,1]"),
    ("\\boxed{5 \\text{ inches}}", "5"),
    ("\\boxed{10\\mbox{ cm}^2}", "10"),
    ("\\boxed{12 square units}", "12"),
    ("\\boxed{\\text{Tuesday}}", "tuesday"),
    ("\\boxed{\\textbf{(C)}}", "C"),
    ("\\boxed{2\\pi}", "2\\pi"),
    ("\\boxed{3 or 5}", "3or5"),
    ("\\boxed{x^2 + 2x + 1}", "x^2+2x+1"),
    ("\\boxed{a \\leq 3}", "a\\le3"),
    ("The answer is: $\\frac{1}{2}$.", "\\frac{1}{2}"),
    ("The answer is: 7", "7"),
    ("\\boxed{\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
]
DIFFERENT = [
    ("5", "6"),
    ("\\frac{1}{2}", "2"),
    ("(1,2)", "(2,1)"),
    ("0.33", "\\frac{1}{3}"),
    ("[0,1]", "(0,1)"),
]
LETTERS = [
    ("The answer is (C).", "C"),
    ("So the answer is B", "B"),
    ("Answer: D", "D"),
    ("Correct answer - A\nThe answer is (A).", "A"),
    ("the answer is option E.", "E"),
    ("Option C is right", "C"),
    ("C)", "C"),
    ("C", "C"),
    ("c.", "C"),
    ("the answer is (b)", "B"),
    ("A) 5 is too small, so B)", "B"),
    ("\\boxed{D}", "D"),
    ("The answer is a lot of money", None),
    ("32400", None),
    ("", None),
]
NAMED = [
    ("the correct answer is answer3", "answer1", "answer3"),
    ("answer2, not answer3", "answer3", "answer2"),
    ("it is true that answer4 fits", "answer1", "answer4"),
    ("the correct answer is false", "true", "false"),
    ("solution1 solution2", "solution2", "solution1"),
    ("option2", "option1", "option2"),
    ("ending4", "ending1", "ending4"),
    ("answer9", "answer1", None),
    ("TRUE", "true", None),
    ("anything", "gold of no family", None),
]
FORMS: tuple[AnswerForm, ...] = ("number", "latex", "letter", "named", "text")


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_number_is_found_in(text: str, expected: str | None) -> None:
    assert number_answer(text) == expected


@pytest.mark.parametrize(("text", "gold"), LATEX)
def test_boxed_answer_equals(text: str, gold: str) -> None:
    assert same_answer("latex", final_answer("latex", text, gold), gold)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_answers_differ(one: str, other: str) -> None:
    assert not same_latex(one, other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\boxed{a{b{c}}d}", "a{b{c}}d"),
        ("\\boxed{1} then \\boxed{unclosed", "1"),
        ("\\boxed", None),
        ("\\boxed{" * 20_000, None),
        ("none", None),
        ("\\boxed{}", ""),
    ],
)
def test_box_is_read_to_its_own_brace(text: str, expected: str | None) -> None:
    assert boxed(text) == expected


@pytest.mark.parametrize(("text", "expected"), LETTERS)
def test_letter_is_found_in(text: str, expected: str | None) -> None:
    assert final_answer("letter", text, "A") == expected


@pytest.mark.parametrize(("text", "gold", "expected"), NAMED)
def test_named_choice_is_the_first_of_its_family(text: str, gold: str, expected: str | None) -> None:
    assert final_answer("named", text, gold) == expected


def test_text_answers_are_compared_without_case_and_surrounding_marks() -> None:
    assert same_answer("text", final_answer("text", " Paris.\n", "paris"), "paris")
    assert not same_answer("text", final_answer("text", "Paris, France", "paris"), "paris")


@pytest.mark.parametrize("form", FORMS)
def test_no_answer_is_never_the_gold_one(form: AnswerForm) -> None:
    assert not same_answer(form, None, "5")
    assert final_answer(form, "", "true") is None


_PIECES = st.sampled_from(
    [
        *(
            "\\boxed{",
            "}",
            "{",
            "\\frac",
            "\\sqrt",
            "\\text{",
            "$",
            "1",
            "2",
            ",",
            ".",
            "/",
            "-",
            " ",
            "x",
            "=",
        ),
        *(
            "####",
            "The answer is",
            "answer3",
            "(C)",
            "\\left",
            "^\\circ",
            "%",
            "000",
            "e9",
            "x 10^",
            "\n",
            "\\%",
        ),
    ]
)
_TEXTS = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=14).map("".join))


@given(_TEXTS, st.sampled_from(FORMS))
def test_finding_an_answer_never_raises_and_is_stable(text: str, form: AnswerForm) -> None:
    found = final_answer(form, text, "true")
    if found is not None:
        assert found
        assert canonical_answer(form, found) is not None or form == "named"


@given(_TEXTS)
def test_normalising_latex_twice_changes_nothing(text: str) -> None:
    once = normalise_latex(text)
    assert normalise_latex(once) == once


@given(st.fractions(max_denominator=200))
def test_canonical_number_keeps_its_value(value: "object") -> None:
    canonical = canonical_answer("number", str(value))
    assert canonical is not None
    assert canonical_answer("number", canonical) == canonical
    assert same_answer("number", canonical, str(value))
