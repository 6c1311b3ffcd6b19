"""What embedding a corpus through Ray costs beside ``SentenceTransformer.encode`` on the same machine and texts.

Ours is charged from the call of the stage to the vectors read back: planning, starting actors, their imports and
models, encoding, and publishing every part. The reference is charged for ``encode`` alone, its model loaded and warm.
DESCANT_BENCH_DOCS limits the documents, for a quick trial.
"""

import json
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from descant.artifacts import commit
from descant.artifacts.tables import read_table, vector_table, vectors_of, write_table
from tests.benchmarks.figures import Row, measured, report
from tests.models.test_minilm import MINILM

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

LIBRARY, STAGE = "tests.benchmarks.encode_with_library", "tests.benchmarks.encode_with_stage"
BATCH_SIZES = (32, 16, 8)
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


def library_runs(folder: Path, max_tokens: int) -> Iterator[tuple[int, dict[str, Any]]]:
    texts = folder / "texts.json"
    texts.write_text(json.dumps(texts_of(folder)), "utf-8")
    for size in BATCH_SIZES:
        arguments = [str(MINILM.locate()), str(texts), str(max_tokens), str(size), "cpu"]
        yield size, measured(["-m", LIBRARY, *arguments], {"OMP_NUM_THREADS": str(os.cpu_count())})


def stage_run(folder: Path, store: Path, max_tokens: int, safety: str = "safe") -> dict[str, Any]:
    return measured(["-m", STAGE, str(folder), str(store), str(max_tokens), safety])


def row(system: str, figures: dict[str, Any], baseline: float, *, seconds: float | None = None) -> Row:
    rate = figures["documents"] / (seconds or figures["seconds"])
    return {
        "system": system,
        "documents": figures["documents"],
        "seconds": round(seconds or figures["seconds"], 1),
        "documents/s": round(rate, 1),
        "ratio": round(rate / baseline, 2),
        "CPU s": figures["cpu_seconds"],
        "peak MiB": figures["peak_mib"],
        "cores used by others": figures["others_cores"],
    }


@pytest.mark.parametrize(("name", "max_tokens", "most"), [("scifact", 256, 5000), ("arc-easy", 256, 10654)])
def test_embed_stage_against_sentence_transformers(
    name: str, max_tokens: int, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus_of(scifact() if name == "scifact" else ARC_EASY, tmp_path / "corpus", most)
    first = stage_run(folder, tmp_path / "first", max_tokens)
    library = dict(library_runs(folder, max_tokens))
    second = stage_run(folder, tmp_path / "second", max_tokens)
    unsafe = stage_run(folder, tmp_path / "unsafe", max_tokens, "unsafe")
    default = library[DEFAULT_BATCH_SIZE]
    baseline = default["documents"] / default["seconds"]
    ours = min(first, second, key=lambda figures: figures["seconds"])
    best = max(figures["documents"] / figures["seconds"] for figures in library.values())
    rate = ours["documents"] / ours["seconds"]
    rows = [row(f"SentenceTransformer.encode, batch {size}", library[size], baseline) for size in BATCH_SIZES]
    rows += [
        row("descant embed, first run", first, baseline),
        row("descant embed, second run", second, baseline),
        row(
            "  the better one with Ray's start", ours, baseline, seconds=ours["seconds"] + ours["ray_seconds"]
        ),
        row("  without fsync, digest, read-back", unsafe, baseline),
    ]
    cost, num_parts = seconds_of_safety(tmp_path / "parts"), -(-ours["documents"] // ROWS_PER_PART)
    share = cost * num_parts / 2 / ours["seconds"]
    notes = [
        f"{rate / baseline:.2f} times SentenceTransformer.encode at its default batch size, "
        f"{rate / best:.2f} times at its best (goal: at least 1).",
        f"Safety costs {1000 * cost:.0f} ms for each part of {ROWS_PER_PART} vectors, timed alone: "
        f"{share:.2%} of the stage (goal: at most {SAFETY_GOAL:.0%}).",
        "Ours includes actors, imports, model loading and publishing; the reference is the call of encode alone.",
        "Peak memory is the sum over processes; what they share is counted in each.",
    ]
    with capsys.disabled():
        title = f"Embedding {ours['documents']:,} documents of {name}, {max_tokens} tokens, MiniLM (fp32)"
        report(
            f"embed-{name}", title, rows, notes, first=first, second=second, unsafe=unsafe, library=library
        )
    assert ours["documents"] == default["documents"]
    assert share <= SAFETY_GOAL


def seconds_of_safety(folder: Path) -> float:
    """How much longer one part takes to publish with fsync, digests and reading back; the middle of several."""
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
