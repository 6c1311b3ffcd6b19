"""Retrieval of translations: sentences of one language are queries, those of another the corpus.

The test of Tatoeba's sentences (arXiv:1812.10464, section 4.3), whose accuracy is success at 1.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from descant.core.records import Passage, Query, Rejected
from descant.data.answered import AnsweredQueries
from descant.data.parallel import Parallel
from descant.data.pinned import HubFile
from descant.data.splits import Split


class Translations(AnsweredQueries):
    """Sentences and their translations. Two equal ones are two passages, as in the published test."""

    kind: Literal["translations"] = "translations"
    pairs: Parallel
    """The two languages: ``given`` has the queries, ``wanted`` the passages."""

    def named_files(self) -> Mapping[str, Path | HubFile]:
        """The files of both languages."""
        sides = {"given": self.pairs.given, "wanted": self.pairs.wanted}
        return {
            f"{side}/{name}": file
            for side, files in sides.items()
            for name, file in files.named_files().items()
        }

    def splits(self) -> tuple[Split, ...]:
        """Those that both languages have."""
        return self.pairs.splits()

    def passages(self) -> Iterator[Passage | Rejected]:
        """The sentences of the wanted language that have a pair."""
        for split in self.splits():
            for pair in self.pairs.items(split):
                if not isinstance(pair, Rejected):
                    yield Passage(f"{split}-{pair.id}", "", pair.response)

    def answered(self, split: str) -> Iterator[tuple[Query, str] | Rejected]:
        """The sentences of the given language; an id is that of the pair with the name of the split."""
        for pair in self.pairs.items(cast("Split", split)):
            if isinstance(pair, Rejected):
                yield pair
            else:
                yield Query(f"{split}-{pair.id}", pair.instruction), f"{split}-{pair.id}"
