"""What embedding a corpus through Ray costs beside ``SentenceTransformer.encode`` on the same machine and texts.

Ours is charged from the call of the stage to the vectors read back: planning, starting actors, their imports and
models, encoding, and publishing every part. The reference is charged for ``encode`` alone, its model loaded and warm.
DESCANT_BENCH_DOCS limits the documents, for a quick trial.
"""

import json
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pytest

from descant.artifacts import commit
from descant.artifacts.tables import read_table, vector_table, vectors_of, write_table
from tests.benchmarks.figures import Row, measured, report
from tests.models.test_minilm import MINILM

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

LIBRARY, STAGE = "tests.benchmarks.encode_with_library", "tests.benchmarks.encode_with_stage"
MAX_TOKENS = 256
BATCH_SIZES = (32, 16, 32, 8)
DEFAULT_BATCH_SIZE = 32
ARC_EASY = Path(__file__).parents[2] / "jobs" / "data" / "arc_easy"
ROWS_PER_PART, PUBLISHED_PARTS = 512, 20
SAFETY_GOAL = 0.05


def scifact() -> Path:
    if "DESCANT_DATA" not in os.environ:
        pytest.skip("DESCANT_DATA is not set")
    return Path(os.environ["DESCANT_DATA"]) / "retrieval" / "scifact"


def corpus_of(whole: Path, folder: Path, most: int) -> Path:
    """The first documents of a BEIR folder, as many as asked for, with its queries and test judgements."""
    count = min(most, int(os.environ.get("DESCANT_BENCH_DOCS", most)))
    (folder / "qrels").mkdir(parents=True)
    with (whole / "corpus.jsonl").open(encoding="utf-8") as lines:
        (folder / "corpus.jsonl").write_text("".join(islice(lines, count)), "utf-8")
    for name in ("queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_bytes((whole / name).read_bytes())
    return folder


def texts_of(folder: Path) -> list[str]:
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        rows = list(map(json.loads, lines))
    return [f"{row['title']} {row['text']}".strip() for row in rows]


def library_run(folder: Path, max_tokens: int, batch_size: int) -> dict[str, Any]:
    texts = folder / "texts.json"
    texts.write_text(json.dumps(texts_of(folder)), "utf-8")
    arguments = [str(MINILM.locate()), str(texts), str(max_tokens), str(batch_size), "cpu"]
    return measured(["-m", LIBRARY, *arguments], {"OMP_NUM_THREADS": str(os.cpu_count())})


def stage_run(folder: Path, store: Path, max_tokens: int) -> dict[str, Any]:
    return measured(["-m", STAGE, str(folder), str(store), str(max_tokens)])


def together(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of several runs of the same; the largest peak."""
    return {
        name: max(run[name] for run in runs) if name == "peak_mib" else mean(run[name] for run in runs)
        for name in runs[0]
    }


def row(system: str, figures: dict[str, Any], baseline: float) -> Row:
    return {
        "system": system,
        "seconds": round(figures["seconds"], 1),
        "documents/s": round(rate(figures), 1),
        "ratio": round(rate(figures) / baseline, 2),
        "CPU s": round(figures["cpu_seconds"], 1),
        "peak MiB": figures["peak_mib"],
        "cores used by others": round(figures["others_cores"], 2),
    }


def rate(figures: dict[str, Any]) -> float:
    return float(figures["documents"] / figures["seconds"])


@pytest.mark.parametrize(("name", "most"), [("scifact", 5000), ("arc-easy", 10654)])
def test_embed_stage_against_sentence_transformers(
    name: str, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus_of(scifact() if name == "scifact" else ARC_EASY, tmp_path / "corpus", most)
    library: dict[int, list[dict[str, Any]]] = {size: [] for size in sorted(set(BATCH_SIZES))}
    stage = []
    for turn, size in enumerate(BATCH_SIZES):  # by turns, so that a busy spell meets both
        library[size].append(library_run(folder, MAX_TOKENS, size))
        if turn % 2 == 0:
            stage.append(stage_run(folder, tmp_path / f"store-{turn}", MAX_TOKENS))
    reference = {size: together(runs) for size, runs in library.items()}
    ours = together(stage)
    with_ray = {**ours, "seconds": ours["seconds"] + ours["ray_seconds"]}
    baseline = rate(reference[DEFAULT_BATCH_SIZE])
    rows = [
        *(row(f"SentenceTransformer.encode, batch {size}", reference[size], baseline) for size in library),
        row("descant embed stage", ours, baseline),
        row("descant embed stage with Ray's start", with_ray, baseline),
    ]
    share = seconds_of_safety(tmp_path / "parts") * ours["documents"] / ROWS_PER_PART / ours["seconds"]
    spread = max(map(rate, stage)) / min(map(rate, stage))
    notes = [
        f"{rate(ours) / baseline:.2f} times SentenceTransformer.encode at its default batch size, "
        f"{rate(ours) / max(map(rate, reference.values())):.2f} times at its best (goal: at least 1); "
        f"{len(stage)} runs of ours, the fastest {spread:.2f} times the slowest.",
        f"Publishing with the commit protocol (fsync, digests, reading back) instead of bare writing: {share:.2%} of "
        f"the stage (goal: at most {SAFETY_GOAL:.0%}).",
        "Ours includes actors, imports, model loading and publishing; the reference is the call of encode alone.",
        "CPU seconds of ours include Ray and everything else from the start of the process.",
        "Peak memory is the sum over processes; what they share is counted in each.",
    ]
    with capsys.disabled():
        title = f"Embedding {ours['documents']:,.0f} documents of {name}, {MAX_TOKENS} tokens, MiniLM (fp32)"
        report(f"embed-{name}", title, rows, notes, stage=stage, library=library)
    assert share <= SAFETY_GOAL


def seconds_of_safety(folder: Path) -> float:
    """How much longer one part takes to publish than to write; the middle of several."""
    vectors = np.random.default_rng(0).normal(size=(ROWS_PER_PART, 384)).astype(np.float32)
    table = vector_table([f"document-{i}" for i in range(ROWS_PER_PART)], vectors)
    safe, bare = [], []
    for number in range(PUBLISHED_PARTS):
        begin = time.perf_counter()
        commit.publish(
            folder,
            f"vectors-{number}",
            lambda path: write_table(table, path),
            rows=ROWS_PER_PART,
            suffix=".parquet",
            check=lambda path: np.testing.assert_array_equal(vectors_of(read_table(path))[1], vectors),
        )
        middle = time.perf_counter()
        write_table(table, folder / f"bare-{number}.parquet")
        bare.append(time.perf_counter() - middle)
        safe.append(middle - begin)
    return median(safe) - median(bare)
