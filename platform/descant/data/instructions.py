"""Instructions with responses: the columns of Alpaca, or chats.

MetaMathQA (arXiv:2309.12284) has the first form under other names: ``{instruction: query, output: response}``.
"""

from collections.abc import Iterator
from typing import Literal

from descant.core.records import Rejected
from descant.data.items import Instruction, content_id
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import TableFormat, table_rows


class Instructions(SplitFiles):
    """What is asked in one column, what to say in another; an input may stand beside the instruction."""

    kind: Literal["instructions"] = "instructions"
    """Instructions with responses."""
    format: TableFormat = "jsonl"
    """How the files are written."""
    instruction: str = "instruction"
    """Column of what is asked."""
    input: str | None = "input"
    """Column of what the instruction is about; may be missing or empty in a row."""
    output: str = "output"
    """Column of the response."""
    answer: str | None = None
    """Column of the final answer; if left out it is read from the response."""

    def items(self, split: Split) -> Iterator[Instruction | Rejected]:
        """The rows of ``split`` in file order."""
        names = [
            name for name in (self.instruction, self.input, self.output, self.answer) if name is not None
        ]
        for row in table_rows(self.path_of(split), self.format, names):
            yield row if isinstance(row, Rejected) else self._item(row)

    def _item(self, row: Row) -> Instruction | Rejected:
        answer = row.text(self.answer) if self.answer is not None else None
        given = row.optional_text(self.input) if self.input is not None else ""
        return instruction(row, row.text(self.instruction), given, row.text(self.output), answer)


class Chats(SplitFiles):
    """JSON lines of ``messages``, each with ``role`` and ``content``.

    The response is the last message, which must be the assistant's; what was said before is the instruction, each
    turn of a longer chat on its own line after its role. Training thus learns one turn of a chat; to learn all of
    them, write a row for each.
    """

    kind: Literal["chats"] = "chats"
    """Chats."""
    messages: str = "messages"
    """Column of the messages."""

    def items(self, split: Split) -> Iterator[Instruction | Rejected]:
        """One row per chat, in file order; one that does not end with the assistant is ``no_response``."""
        for row in table_rows(self.path_of(split), "jsonl"):
            yield row if isinstance(row, Rejected) else self._item(row)

    def _item(self, row: Row) -> Instruction | Rejected:
        turns = [(turn.text("role"), turn.text("content")) for turn in row.records(self.messages)]
        if len(turns) < 2 or turns[-1][0] != "assistant":
            return row.rejected(content_id(text for turn in turns for text in turn), "no_response")
        *before, (_, response) = turns
        if len(before) == 1:
            return instruction(row, before[0][1], "", response, None)
        said = "\n".join(f"{role.capitalize()}: {content}" for role, content in before)
        return instruction(row, said, "", response, None)


def instruction(
    row: Row, asked: str, given: str, response: str, answer: str | None
) -> Instruction | Rejected:
    """A record known by its content; left out as ``empty_text`` where nothing is asked or answered."""
    row_id = content_id([asked, given, response])
    if not asked.strip() or not response.strip():
        return row.rejected(row_id, "empty_text")
    return Instruction(row_id, asked, given, response, answer)
