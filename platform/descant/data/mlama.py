"""mLAMA (arXiv:2102.00894): facts as sentences; the true one among those with other objects of the same relation."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from descant.core.records import Rejected
from descant.core.seeds import seed_for
from descant.data.choices import choice_question
from descant.data.items import ChoiceQuestion, content_id
from descant.data.rows import Row
from descant.data.splits import Split, SplitFiles
from descant.data.tables import table_rows

_COLUMNS = ("predicate_id", "template", "sub_label", "obj_label")
_PLACE = re.compile(r"\[([XY])\]")


class Mlama(SplitFiles):
    """A relation (``predicate_id``), a ``template`` that names [X] and [Y], a subject (``sub_label``) for the one and
    an object (``obj_label``) for the other; one language a file. There is no question: each choice is a sentence.
    """

    kind: Literal["mlama"] = "mlama"
    """mLAMA."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """How the files are written."""
    distractors: int = Field(3, ge=1)
    """Wrong objects beside the right one."""
    seed: int
    """Draws them, and the place of the right one."""

    def items(self, split: Split) -> Iterator[ChoiceQuestion | Rejected]:
        """The rows in file order.

        No distractor is right for the same subject in another row. Left out are ``empty_text``, ``no_template`` and
        ``no_choices``: the relation has too few objects.
        """
        objects: dict[str, set[str]] = defaultdict(set)
        right: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in self._rows(split):
            if not isinstance(row, Rejected):
                relation, _, subject, thing = _fields(row)
                objects[relation].add(thing)
                right[relation, subject].add(thing)
        for row in self._rows(split):
            if isinstance(row, Rejected):
                yield row
                continue
            relation, _, subject, _ = _fields(row)
            yield self._item(row, sorted(objects[relation] - right[relation, subject] - {""}))

    def _rows(self, split: Split) -> Iterator[Row | Rejected]:
        return table_rows(self.path_of(split), self.format, _COLUMNS)

    def _item(self, row: Row, wrong: list[str]) -> ChoiceQuestion | Rejected:
        import numpy as np

        relation, template, subject, thing = _fields(row)
        row_id = content_id([relation, template, subject, thing])
        if not subject or not thing:
            return row.rejected(row_id, "empty_text")
        if sorted(_PLACE.findall(template)) != ["X", "Y"]:
            return row.rejected(row_id, "no_template")
        if len(wrong) < self.distractors:
            return row.rejected(row_id, "no_choices")
        generator = np.random.default_rng(seed_for(self.seed, "distractors", row_id))
        drawn = [wrong[i] for i in generator.choice(len(wrong), size=self.distractors, replace=False)]
        gold = int(generator.integers(self.distractors + 1))
        listed = [*drawn[:gold], thing, *drawn[gold:]]
        return choice_question(
            row, row_id, "", tuple(_sentence(template, subject, one) for one in listed), gold
        )


def _fields(row: Row) -> tuple[str, str, str, str]:
    relation, template, subject, thing = (row.text(column).strip() for column in _COLUMNS)
    return relation, template, subject, thing


def _sentence(template: str, subject: str, thing: str) -> str:
    return _PLACE.sub(lambda match: subject if match.group(1) == "X" else thing, template)
