"""What ``Encoder.encode`` costs on a GPU beside ``SentenceTransformer.encode``, without Ray.

Not run so far: this project has been developed on machines without a GPU. It is here to be run where there is one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from descant.core.records import Passage
from descant.data.prompts import Prompt
from descant.models.encode import load_encoder
from descant.models.encoder import EncoderSpec, Precision
from tests.benchmarks.figures import Row, report
from tests.models.test_minilm import MINILM

pytestmark = [pytest.mark.gpu, pytest.mark.bench, pytest.mark.timeout(3600)]

NUM_DOCUMENTS, MAX_TOKENS, REPEATS = 20_000, 256, 3
BATCH_SIZES = (32, 128, 512)
TOKENS_PER_BATCH = (8_192, 32_768, 131_072)


def documents() -> list[Passage]:
    """Made-up documents of 20 to 300 words, so that lengths vary as they do in corpora."""
    rng = np.random.default_rng(0)
    words = np.array(
        ["water", "cell", "energy", "protein", "acid", "blood", "growth", "mutation", "of", "the"]
    )
    lengths = rng.integers(20, 300, NUM_DOCUMENTS)
    return [Passage(str(i), "", " ".join(rng.choice(words, length))) for i, length in enumerate(lengths)]


def per_second(encode: Callable[[], Any]) -> float:
    """Documents per second, the best of a few runs after a warm one; vectors arrive on the CPU."""
    encode()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        encode()
        seconds.append(time.perf_counter() - start)
    return NUM_DOCUMENTS / min(seconds)


def library_rates(texts: Sequence[str], precision: Precision) -> dict[str, float]:
    import torch
    from sentence_transformers import SentenceTransformer

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = SentenceTransformer(str(MINILM.locate()), device="cuda", model_kwargs={"dtype": dtype})
    model.max_seq_length = MAX_TOKENS

    def rate(size: int) -> float:
        return per_second(lambda: model.encode(list(texts), batch_size=size, show_progress_bar=False))

    return {f"SentenceTransformer.encode, batch {size}": rate(size) for size in BATCH_SIZES}


def our_rates(passages: Sequence[Passage], precision: Precision) -> dict[str, float]:
    spec = EncoderSpec(
        model=MINILM,
        pooling="mean",
        prompt=Prompt(query="{query}"),
        max_passage_tokens=MAX_TOKENS,
        precision=precision,
    )
    encoder = load_encoder(spec, device="cuda")

    def rate(tokens: int) -> float:
        return per_second(lambda: encoder.encode_passages(passages, tokens_per_batch=tokens))

    return {f"descant Encoder, {tokens:,} tokens a batch": rate(tokens) for tokens in TOKENS_PER_BATCH}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_encoder_on_a_gpu_against_sentence_transformers(
    precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    passages = documents()
    library = library_rates([passage.full_text for passage in passages], precision)
    ours = our_rates(passages, precision)
    default, best = next(iter(library.values())), max(library.values())
    rows: list[Row] = [
        {"system": name, "documents/s": round(rate, 1), "ratio": round(rate / default, 2)}
        for name, rate in {**library, **ours}.items()
    ]
    notes = [
        f"{max(ours.values()) / best:.2f} times the library at its best batch size.",
        f"{torch.cuda.get_device_name()}, {precision}, {NUM_DOCUMENTS:,} made-up documents, {MAX_TOKENS} tokens.",
    ]
    with capsys.disabled():
        report(f"encode-gpu-{precision}", f"Encoding on a GPU, MiniLM ({precision})", rows, notes)
    assert max(ours.values()) >= best
