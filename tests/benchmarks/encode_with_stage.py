"""The program of ours: the embed stage over a fetched corpus, from a bare process to vectors read back.

Arguments: BEIR folder, store, most tokens of a text, and ``safe`` or ``unsafe``, which leaves out what protects
the parts: fsync, digests and reading them back.
"""

import hashlib
import json
import os
import sys
import time
from types import ModuleType
from typing import Any

from descant.artifacts import commit, store
from descant.data.beir import Beir
from descant.data.prompts import Prompt
from descant.models.encoder import EncoderSpec
from descant.run.cluster import ray_session
from descant.run.profile import Profile, RayCompute
from descant.stages import embed
from descant.stages.base import Step
from descant.stages.embed import EmbedPassages
from descant.stages.fetch import Fetch
from descant.stages.vectors import read_vectors
from tests.models.test_minilm import MINILM
from tests.pipeline import made


def without_safety() -> None:
    """Publish parts and read them without fsync, digests and checks, from here on in this process."""
    safe: Any = embed.publish
    replacements: list[tuple[ModuleType, str, Any]] = [
        (embed, "publish", lambda *arguments, check, **named: safe(*arguments, **named)),
        (os, "fsync", lambda descriptor: None),
        (commit, "file_digest", lambda path: hashlib.sha256(str(path).encode()).hexdigest()),
        (store, "check_files", lambda *arguments: None),
    ]
    for module, name, replacement in replacements:
        setattr(module, name, replacement)


def main(folder: str, root: str, max_tokens: str, safety: str) -> None:
    encoder = EncoderSpec(
        model=MINILM, pooling="mean", prompt=Prompt(query="{query}"), max_passage_tokens=int(max_tokens)
    )
    data = Step("data", Fetch(source=Beir(path=folder, train_split=None)))
    vectors = Step("vectors", EmbedPassages(encoder=encoder), {"data": data})
    place, profile = store.Store(root), Profile()
    made(data, place, profile)
    if safety == "unsafe":
        without_safety()
        start_ray_without_safety()
    begin = time.perf_counter()
    with ray_session(RayCompute()):
        ready = time.perf_counter()
        ids, found = read_vectors(made(vectors, place, profile)["vectors"])
        end = time.perf_counter()
    assert found.shape == (len(ids), 384)
    figures = {"documents": len(ids), "seconds": end - ready, "ray_seconds": ready - begin}
    sys.stdout.write(json.dumps(figures))


def start_ray_without_safety() -> None:
    import ray

    hook = {"worker_process_setup_hook": without_safety}
    ray.init(num_cpus=RayCompute().num_cpus, runtime_env=hook, log_to_driver=False, include_dashboard=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
