"""Prompts: how a query with its in-context examples, or a passage, becomes the text sent to an encoder.

The formats are those of RARe (arXiv:2410.20088, section 3); the same ``Prompt`` renders for training,
evaluation and serving, so their texts are byte-equal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from descant.core.records import Example, Passage
from descant.core.spec import Spec

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_EMPTY_TITLE = re.compile(r"\{title\}.*?(?=\{text\})", re.DOTALL)
_KNOWN = {
    "head": ({"instruction"}, set[str]()),
    "example": ({"query", "passage"}, {"query", "passage"}),
    "query": ({"query"}, {"query"}),
    "passage": ({"title", "text"}, {"text"}),
}
"""For each template: the placeholders it may name, and those it must."""


@dataclass(frozen=True, slots=True)
class PromptedText:
    """A text for the encoder; its pooled segment, the target, runs from character ``start`` to the end.

    ``start`` 0 means all of the text, special tokens included.
    """

    text: str
    start: int


class Prompt(Spec):
    """Templates for queries and passages.

    A placeholder is a name in braces. Texts put in its place are not read as templates: their braces
    survive.
    """

    instruction: str = ""
    """What the retriever is asked to do, in words; put in place of {instruction} in the head."""
    head: str = ""
    """What every query prompt begins with, such as "Instruct: {instruction}\\n"."""
    example: str = "Query: {query}\nPositive Document: {passage}\n\n"
    """One in-context example."""
    query: str = "Query: {query}"
    """The target query; pooling is over this segment only when anything stands before it."""
    passage: str = "{title} {text}"
    """A passage of the corpus; an empty title takes along what stands between it and {text}."""
    max_example_tokens: int = Field(128, ge=1)
    """Tokens kept of each example's passage, so that one long passage cannot crowd out the rest."""

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        for name, (allowed, required) in _KNOWN.items():
            check_template(name, getattr(self, name), allowed, required)
        if bool(self.instruction) != ("{instruction}" in self.head):
            raise ValueError(
                "an instruction and a head that names {instruction} go together; only one is given"
            )
        return self

    def render_query(self, query: str, examples: Sequence[Example] = ()) -> PromptedText:
        """The query after its examples, in the order given (the most similar one belongs last)."""
        context = "".join([self.render_head(), *map(self.render_example, examples)])
        return PromptedText(context + filled(self.query, {"query": query}), len(context))

    def render_head(self) -> str:
        """What stands before the first example."""
        return filled(self.head, {"instruction": self.instruction})

    def render_example(self, example: Example) -> str:
        """One in-context example as it stands in a prompt."""
        return filled(self.example, {"query": example.query, "passage": example.passage})

    def render_passage(self, passage: Passage) -> PromptedText:
        """The passage alone: passages carry neither instruction nor examples."""
        template = self.passage if passage.title else _EMPTY_TITLE.sub("", self.passage)
        return PromptedText(filled(template, {"title": passage.title, "text": passage.text}), 0)


def filled(template: str, values: Mapping[str, str]) -> str:
    """``template`` with its placeholders replaced; braces in the values stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def check_template(name: str, template: str, allowed: set[str], required: set[str]) -> None:
    """Raise ValueError for braces around anything but ``allowed`` and for a missing one of ``required``."""
    found = set(_PLACEHOLDER.findall(template))
    listed = ", ".join(f"{{{placeholder}}}" for placeholder in sorted(allowed))
    if not found <= allowed or re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        raise ValueError(f"the {name} template {template!r} may use braces for {listed} only")
    if missing := sorted(required - found):
        raise ValueError(f"the {name} template {template!r} must name {{{missing[0]}}}")
