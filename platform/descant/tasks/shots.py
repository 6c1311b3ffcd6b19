"""Solved examples in front of a question, as few-shot evaluation has them (arXiv:2005.14165)."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from descant.core.errors import DataError
from descant.core.records import Rejected
from descant.core.seeds import seed_for
from descant.core.spec import Spec
from descant.tasks.rows import TextRow

BETWEEN = "\n\n"
"""What stands between two examples, and between the last one and the question."""


class Shots(Spec):
    """How many examples, and where they come from. They stand before rows that are asked, never in training."""

    split: Literal["train", "validation"]
    """The split they are drawn from."""
    num: int = Field(ge=1)
    """Examples before each question."""
    seed: int
    """Draws them, for each row by its id."""

    def before(
        self, rows: Iterable[TextRow | Rejected], solved: Iterable[TextRow | Rejected]
    ) -> Iterator[TextRow | Rejected]:
        """``rows``, each behind ``num`` different examples of ``solved``: prompt and response as they are, joined.

        No row is an example of its own, by its question; nor does the order of the files matter. Raises DataError where
        there are too few.
        """
        pool = sorted((row for row in solved if not isinstance(row, Rejected)), key=lambda row: row.id)
        for row in rows:
            if isinstance(row, Rejected):
                yield row
                continue
            examples = [f"{one.prompt}{one.response}{BETWEEN}" for one in self._drawn(row, pool)]
            yield dataclasses.replace(row, prompt="".join([*examples, row.prompt]))

    def _drawn(self, row: TextRow, pool: list[TextRow]) -> list[TextRow]:
        import numpy as np

        seen, drawn = {row.key}, []
        generator = np.random.default_rng(seed_for(self.seed, "shots", row.id))
        for place in generator.permutation(len(pool)):
            if pool[place].key not in seen:
                seen.add(pool[place].key)
                drawn.append(pool[place])
                if len(drawn) == self.num:
                    return drawn
        raise DataError(
            "E-TASK-SHOTS",
            f"{self.split}, row {row.id}",
            f"found {len(drawn)} other examples, expected {self.num}",
            "Nothing was prepared. Lower shots.num, or give more data.",
        )
