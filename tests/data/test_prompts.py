import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from descant.core.records import Example, Passage
from descant.data.prompts import Prompt, PromptedText

RARE = Prompt(instruction="Find the answer", head="Instruct: {instruction}\n")
TEXTS = st.text(max_size=40)


def test_query_prompt_with_examples_is_the_published_string() -> None:
    examples = [Example("q1", "d1"), Example("q2", "d2")]
    context = (
        "Instruct: Find the answer\nQuery: q1\nPositive Document: d1\n\nQuery: q2\nPositive Document: d2\n\n"
    )
    assert RARE.render_query("q", examples) == PromptedText(context + "Query: q", len(context))


def test_query_prompt_without_examples_keeps_the_head() -> None:
    assert RARE.render_query("q") == PromptedText("Instruct: Find the answer\nQuery: q", 26)


def test_plain_query_is_pooled_from_its_beginning() -> None:
    assert Prompt(query="{query}").render_query("why?") == PromptedText("why?", 0)


@pytest.mark.parametrize(
    ("template", "title", "expected"),
    [
        ("{title} {text}", "Cells", "Cells divide"),
        ("{title} {text}", "", "divide"),
        ("{title}. {text}", "", "divide"),
        ("passage: {title} {text}", "", "passage: divide"),
        ("{title}\n{text}", "", "divide"),
        ("{text}", "Cells", "divide"),
    ],
)
def test_passage_without_title_leaves_no_separator(template: str, title: str, expected: str) -> None:
    assert Prompt(passage=template).render_passage(Passage("1", title, "divide")) == PromptedText(expected, 0)


@given(query=TEXTS, passages=st.lists(st.tuples(TEXTS, TEXTS), max_size=3))
def test_query_prompt_of_any_texts_holds_them_unchanged(query: str, passages: list[tuple[str, str]]) -> None:
    examples = [Example(*pair) for pair in passages]
    prompted = RARE.render_query(query, examples)
    assert prompted.text[prompted.start :] == f"Query: {query}"
    assert prompted.text[: prompted.start] == "Instruct: Find the answer\n" + "".join(
        f"Query: {e.query}\nPositive Document: {e.passage}\n\n" for e in examples
    )


@pytest.mark.parametrize(
    "text", ["{query}", "{passage} {", "}{instruction}", "Query: x\n\nQuery: y", "\\1 %s $1"]
)
def test_texts_that_look_like_templates_survive(text: str) -> None:
    prompted = RARE.render_query(text, [Example(text, text)])
    assert prompted.text[prompted.start :] == f"Query: {text}"
    assert prompted.text.count(text) >= 3


@pytest.mark.parametrize(
    ("field", "template", "message"),
    [
        ("query", "{qeury}", "may use braces for {query} only"),
        ("query", "Query:", "must name {query}"),
        ("query", "{query", "may use braces"),
        ("query", "{}{query}", "may use braces"),
        ("example", "{query}", "must name {passage}"),
        ("example", "{query} {passage} {title}", "may use braces"),
        ("passage", "{title}", "must name {text}"),
        ("head", "{instruction}", "go together"),
    ],
)
def test_template_with_wrong_placeholders_is_refused(field: str, template: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Prompt.model_validate({field: template})


def test_instruction_that_no_head_shows_is_refused() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Prompt(instruction="Find the answer")
