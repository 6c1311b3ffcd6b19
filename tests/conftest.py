"""What all tests share: quiet offline libraries; for those that ask, one Ray per module, data, pieces of words."""

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray with four logical CPUs, for the tests of one module."""
    from descant.run.cluster import ray_session
    from descant.run.profile import RayCompute

    logging.getLogger("ray").setLevel(logging.WARNING)
    with ray_session(RayCompute(num_cpus=4, object_store_megabytes=128)):
        yield


@pytest.fixture
def language_data() -> Path:
    """The folder of the evaluation sets in other languages; the test is skipped without it."""
    folder = Path(os.environ.get("DESCANT_DATA", "")) / "lang-eval"
    if not folder.is_dir():
        pytest.skip("DESCANT_DATA names no data packs with evaluation sets in other languages")
    return folder


@pytest.fixture(scope="session")
def pieces_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SentencePiece model, as that of FLORES is a large one."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    texts = iter([f"the sun and the water of plant {number} are light" for number in range(50)])
    SentencePieceTrainer.train(sentence_iterator=texts, model_writer=model, vocab_size=36, minloglevel=2)
    path = tmp_path_factory.mktemp("pieces") / "small.model"
    path.write_bytes(model.getvalue())
    return path
