"""Make training rows: each query with its positive passage and hard negatives, rendered with and without examples.

The prompt object and the fitting are the encoder's own, so a training text and an evaluation text of the same query
and examples are byte-equal.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from descant.artifacts.tables import publish_table
from descant.core.errors import DataError
from descant.core.records import Example, Passage, Query, Rejected, Triple
from descant.core.seeds import seed_for
from descant.core.spec import Compute
from descant.data.fit import fit_prompts
from descant.models.encoder import EncoderSpec
from descant.models.load import load_tokenizer
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.fetch import passages_by_id, queries_of, triples_of
from descant.stages.mine_examples import examples_of

ROWS = "rows"
ROW_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("plain_text", pa.string()),
        ("plain_start", pa.int64()),
        ("prompt_text", pa.string()),
        ("prompt_start", pa.int64()),
        ("num_examples", pa.int64()),
        ("positive_id", pa.string()),
        ("positive_ids", pa.list_(pa.string())),
        ("positive", pa.string()),
        ("negative_ids", pa.list_(pa.string())),
        ("negatives", pa.list_(pa.string())),
    ]
)


class PairExamples(Stage):
    """Render training rows. Inputs: ``data``, and ``examples`` for rows with in-context examples."""

    name: ClassVar[str] = "pair_examples"

    encoder: EncoderSpec
    """The encoder whose prompt and token budget the texts are made for."""
    task: str
    """Label of the task: batches hold rows of one task only."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many queries, drawn with ``seed``; all of them if left out."""
    num_negatives: int = Field(0, ge=0)
    """Hard negatives a row must have; rows with fewer are left out and counted."""
    seed: int
    """Draws the queries."""

    def check(self, compute: Compute) -> None:
        """Raise when the tokenizer's model is not there or unsafe."""
        self.encoder.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``rows``: the columns that training reads, one row per query."""
        data = context.inputs["data"]
        queries = queries_of(data)
        triples = self._drawn([t for t in triples_of(data) if t.query_id in queries])
        wanted = {i for t in triples for i in (*t.positive_ids, *t.negative_ids)}
        passages = passages_by_id(data, wanted)
        rows, rejected = [], []
        for triple in triples:
            row = self._row(triple, queries[triple.query_id], passages)
            if isinstance(row, Rejected):
                rejected.append(row)
            else:
                rows.append(row)
        if not rows:
            raise DataError(
                "E-PAIR-EMPTY",
                self.task,
                "no training row is left",
                "Nothing was trained. See the rejected rows.",
            )
        mined = context.inputs.get("examples")
        examples = examples_of(mined, data, "train") if mined is not None else {}
        used = self._render(rows, [queries[row["id"]] for row in rows], examples)
        table = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
        publish_table(context.folder, ROWS, table, rejected=rejected)
        return Outcome([ROWS], {"rows": len(rows), "rejected": len(rejected), "examples_per_row": used})

    def _drawn(self, triples: list[Triple]) -> list[Triple]:
        if self.max_rows is None or len(triples) <= self.max_rows:
            return triples
        generator = np.random.default_rng(seed_for(self.seed, "training rows"))
        chosen = np.sort(generator.choice(len(triples), self.max_rows, replace=False))
        return [triples[i] for i in chosen]

    def _row(self, triple: Triple, query: Query, passages: dict[str, Passage]) -> dict[str, Any] | Rejected:
        """One row without its query texts, or why there is none."""
        positives = [i for i in triple.positive_ids if i in passages]
        if not positives:
            return Rejected(query.id, "positives", "positive_missing")
        relevant_texts = {passages[i].full_text for i in positives}
        negatives = [
            i
            for i in triple.negative_ids
            if i in passages and i not in triple.positive_ids and passages[i].full_text not in relevant_texts
        ]
        if len(negatives) < self.num_negatives:
            return Rejected(
                query.id, "negatives", f"negatives_missing ({len(negatives)} of {self.num_negatives})"
            )
        generator = np.random.default_rng(seed_for(self.seed, "positive", query.id))
        positive = positives[int(generator.integers(len(positives)))]

        def text_of(passage_id: str) -> str:
            return self.encoder.prompt.render_passage(passages[passage_id]).text

        return {
            "id": query.id,
            "task": self.task,
            "positive_id": positive,
            "positive_ids": list(triple.positive_ids),
            "positive": text_of(positive),
            "negative_ids": negatives,
            "negatives": [text_of(i) for i in negatives],
        }

    def _render(
        self, rows: list[dict[str, Any]], queries: Sequence[Query], examples: dict[str, tuple[Example, ...]]
    ) -> float:
        """Put both renderings of every query into its row; the mean number of examples that fitted."""
        tokenizer = load_tokenizer(self.encoder.model)
        limit = self.encoder.max_query_tokens - (self.encoder.pooling == "eos")
        texts = [query.text for query in queries]
        shown = [examples.get(query.id, ()) for query in queries]
        plain = fit_prompts(self.encoder.prompt, tokenizer, texts, [()] * len(texts), max_tokens=limit)
        prompted = fit_prompts(self.encoder.prompt, tokenizer, texts, shown, max_tokens=limit)
        for row, bare, full in zip(rows, plain, prompted, strict=True):
            row |= {"plain_text": bare.prompted.text, "plain_start": bare.prompted.start}
            row |= {"prompt_text": full.prompted.text, "prompt_start": full.prompted.start}
            row["num_examples"] = full.num_examples
        return sum(full.num_examples for full in prompted) / len(prompted)
