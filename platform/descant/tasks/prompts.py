"""Prompt templates of text tasks, as values: what stands before a response, in training and when asked."""

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from descant.core.spec import Spec
from descant.data.prompts import check_template, filled


class TaskPrompt(Spec):
    """Templates for an instruction, with and without an input.

    A prompt ends where the response begins; what stands between them belongs to the response, so that training,
    likelihood and generation see the same prompt, whatever the tokenizer makes of a space.
    """

    without_input: str
    """The prompt of an instruction alone; names {instruction}."""
    with_input: str
    """The prompt of an instruction with an input; names {instruction} and {input}."""
    asked: str = ""
    """What is put behind the prompt in validation and test, and never in training."""
    before_response: str
    """What every response and every choice begins with."""

    @model_validator(mode="after")
    def _check_templates(self) -> "TaskPrompt":
        check_template("without_input", self.without_input, {"instruction"}, {"instruction"})
        both = {"instruction", "input"}
        check_template("with_input", self.with_input, both, both)
        if any(text != text.rstrip() for text in (self.without_input, self.with_input, self.asked)):
            raise ValueError("a prompt may not end in white space: it belongs into before_response")
        return self

    def train_prompt(self, instruction: str, given: str = "") -> str:
        """The prompt that a training text begins with."""
        template = self.with_input if given.strip() else self.without_input
        return filled(template, {"instruction": instruction.strip(), "input": given.strip()})

    def asked_prompt(self, instruction: str, given: str = "") -> str:
        """The prompt that is put to a model."""
        return self.train_prompt(instruction, given) + self.asked

    def response(self, text: str) -> str:
        """A response or a choice as it follows the prompt."""
        return self.before_response + text.strip()


PLAIN = TaskPrompt(
    without_input="Question: {instruction}\nAnswer:",
    with_input="{input}\nQuestion: {instruction}\nAnswer:",
    before_response=" ",
)
"""A question and the word "Answer:"."""
CONTINUATION = TaskPrompt(
    without_input="{instruction}", with_input="{input} {instruction}", before_response=" "
)
"""Nothing but the text to continue."""
_ALPACA = "Below is an instruction that describes a task"
_INPUT = ", paired with an input that provides further context"
_REQUEST = (
    ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
)
METAMATH = TaskPrompt(
    without_input=f"{_ALPACA}{_REQUEST}### Response:",
    with_input=f"{_ALPACA}{_INPUT}{_REQUEST}### Input:\n{{input}}\n\n### Response:",
    asked=" Let's think step by step.",
    before_response=" ",
)
"""The prompt of MetaMath (arXiv:2309.12284) and SVFT (arXiv:2405.19597): Alpaca's, asked to think step by step. Their
code joins a training response without the space."""
LLM_ADAPTERS = TaskPrompt(
    without_input=f"{_ALPACA}{_REQUEST}### Response:",
    with_input=f"{_ALPACA}{_INPUT}{_REQUEST}### Input:\n{{input}}\n\n### Response:",
    before_response="\n",
)
"""The prompt of LLM-Adapters (arXiv:2304.01933) without the indentation of its source code, which the published prompts
carry, nor the stray comment in its training prompt."""

PROMPTS = {
    "plain": PLAIN,
    "continuation": CONTINUATION,
    "metamath": METAMATH,
    "llm_adapters": LLM_ADAPTERS,
}
"""The templates that a recipe may name."""


def _named(value: Any) -> Any:
    if isinstance(value, str):
        if value not in PROMPTS:
            raise ValueError(f"no prompt is called {value!r}; known: {', '.join(PROMPTS)}, or give templates")
        return PROMPTS[value]
    return value


Prompted = Annotated[TaskPrompt, BeforeValidator(_named)]
"""A spec field that takes a template's name or the templates themselves."""
