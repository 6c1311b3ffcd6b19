"""What a question leaves in the store: bytes, parts and the manifests that list them."""

from collections.abc import Sequence
from dataclasses import dataclass

from descant.run.scale.question import Question
from descant.run.scale.sizes import checkpoint_bytes, index_bytes, num_parts, num_shards, vector_bytes

CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class Stored:
    """One kind of result, over an encoder."""

    name: str
    parts: int
    """Each a file or folder of data and an entry of its own."""
    num_bytes: float
    """Of the data; the ids beside vectors are left out."""
    manifest_bytes: float
    """Of the manifest that lists the parts."""
    listing: float
    """Seconds to read entries and manifest again."""


def stored(question: Question) -> Sequence[Stored]:
    """What is there when the job is done, and the checkpoints that are there until then."""
    corpus, rates = question.corpus, question.rates

    def kept(name: str, parts: int, num_bytes: float) -> Stored:
        manifest = parts * rates.bytes_per_part.value
        return Stored(name, parts, num_bytes, manifest, parts * rates.seconds_per_part.value)

    return [
        kept("passages", num_parts(question), corpus.documents * corpus.bytes),
        kept("vectors", num_parts(question), vector_bytes(question)),
        kept("index shards and their ids", 2 * num_shards(question), index_bytes(question)),
        kept("checkpoints", CHECKPOINTS_KEPT, CHECKPOINTS_KEPT * checkpoint_bytes(question)),
    ]
