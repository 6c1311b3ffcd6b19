"""The program of ours: the embed stage over a fetched corpus, from a bare process to vectors read back.

Arguments: BEIR folder, store, most tokens of a text.
"""

import json
import sys
import time

from descant.artifacts.store import Store
from descant.data.beir import Beir
from descant.data.prompts import Prompt
from descant.models.encoder import EncoderSpec
from descant.run.cluster import ray_session
from descant.run.profile import Profile, RayCompute
from descant.stages.base import Step
from descant.stages.embed import EmbedPassages
from descant.stages.fetch import Fetch
from descant.stages.vectors import read_vectors
from tests.models.test_minilm import MINILM
from tests.pipeline import made


def main(folder: str, root: str, max_tokens: str) -> None:
    encoder = EncoderSpec(
        model=MINILM, pooling="mean", prompt=Prompt(query="{query}"), max_passage_tokens=int(max_tokens)
    )
    data = Step("data", Fetch(source=Beir(path=folder, train_split=None)))
    vectors = Step("vectors", EmbedPassages(encoder=encoder), {"data": data})
    place, profile = Store(root), Profile()
    made(data, place, profile)
    begin = time.perf_counter()
    with ray_session(RayCompute()):
        ready = time.perf_counter()
        ids, found = read_vectors(made(vectors, place, profile)["vectors"])
        end = time.perf_counter()
    assert found.shape == (len(ids), 384)
    figures = {"documents": len(ids), "seconds": end - ready, "ray_seconds": ready - begin}
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
