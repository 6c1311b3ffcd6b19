"""Turn a corpus into token ids, once for a tokenizer, a few thousand documents a part over Ray Data."""

from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from descant.artifacts.mirror import fetch
from descant.artifacts.models import AnyModel
from descant.artifacts.tables import publish_table
from descant.core.spec import Compute
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.learn_vocabulary import TOKENIZER
from descant.stages.map_parts import MapCompute, map_light_parts

DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("bytes", pa.int32()),
        ("tokens", pa.int32()),
        ("ids", pa.list_(pa.int32())),
    ]
)
"""A document: ``bytes`` of its text in UTF-8, ``tokens`` that are predicted, ``ids`` from the start token to the
end-of-text token."""


class Tokenise(Stage):
    """Tokenise documents. Inputs: ``texts``, split; ``tokenizer`` where the base's was extended."""

    name: ClassVar[str] = "tokenise"
    compute_class: ClassVar[type[Compute]] = MapCompute

    model: AnyModel
    """The base, for its tokenizer."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``tokens-*``: one part for each row group of ``texts``."""
        texts = context.inputs["texts"]
        sizes = {}
        for name in texts.names("texts-"):
            described = pq.read_metadata(texts.path(name))
            for group in range(described.num_row_groups):
                part = f"{name.replace('texts', 'tokens')}-{group:05d}"
                sizes[part] = described.row_group(group).num_rows
        extended = context.inputs.get(TOKENIZER)
        folder = extended.path(TOKENIZER) if extended is not None else None
        files = {name: texts.path(name) for name in texts.names("texts-")}
        map_light_parts(
            context, _TokeniseWork(context.folder, self.model, folder, files), sizes, unit="documents"
        )
        parts = [context.draft.published(name) for name in sizes]
        return Outcome(sizes, {"tokens": sum(part.facts["tokens"] for part in parts)})


class _TokeniseWork:
    def __init__(self, target: Path, model: AnyModel, extended: Path | None, files: dict[str, Path]) -> None:
        self.target, self.model, self.extended, self.files = target, model, extended, files

    def __call__(self) -> "_TokeniseWork":
        from descant.models.causal import start_id
        from descant.models.load import load_tokenizer, read_tokenizer

        self.tokenizer = (
            load_tokenizer(self.model) if self.extended is None else read_tokenizer(self.extended)
        )
        self.start, self.end = start_id(self.tokenizer), self.tokenizer.eos_token_id
        return self

    def process(self, name: str) -> int:
        _, number, group = name.split("-")
        documents = pq.ParquetFile(fetch(self.files[f"texts-{number}"])).read_row_group(int(group))
        texts = documents.column("text").to_pylist()
        encoded = self.tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [[self.start, *one.ids, self.end] for one in encoded]
        sizes = [len(text.encode()) for text in texts]
        tokens = [len(one) - 1 for one in ids]
        columns = [documents.column("id"), documents.column("split"), sizes, tokens, ids]
        table = pa.table(dict(zip(DOCUMENTS.names, columns, strict=True)), schema=DOCUMENTS)
        publish_table(self.target, name, table, facts={"tokens": sum(tokens)})
        return len(texts)
