"""Examples that share words with the target: BM25 over the pool's queries (RARe, arXiv:2410.20088)."""

from typing import Literal

from descant.indexes import Bm25
from descant.selection.base import ExamplePool, Fitted, Selector
from descant.selection.similar import MostSimilar


class Lexical(Selector):
    """The rows whose queries score highest; rows without a shared word follow in the pool's order."""

    kind: Literal["lexical"] = "lexical"
    """Which selector this is."""
    index: Bm25 = Bm25()
    """How words are weighed."""

    def fit(self, pool: ExamplePool) -> Fitted:
        """A BM25 index over the pool's queries."""
        shard = self.index.fit(pool.queries)
        return MostSimilar(pool, shard, lambda targets, which: [targets.queries[i] for i in which])
