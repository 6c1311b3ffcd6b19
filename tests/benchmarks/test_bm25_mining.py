"""What choosing BM25 examples costs beside bare bm25s: processor time and peak memory, in own processes.

The bare run is the published recipe as far as the search: tokenise once, index, retrieve k + 1. Ours gives
exactly k examples by id with the leak filter on, and may take 1.2 times as long.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.figures import Row, report

K, REPEATS, GOAL = 5, 5, 1.2
QUERIES = Path(__file__).parents[2] / "jobs" / "data" / "arc_easy" / "queries.jsonl"


def train_queries() -> list[str]:
    """The train queries of ARC-easy where they lie beside the recipes, otherwise as many made-up ones."""
    if QUERIES.is_file():
        rows = map(json.loads, QUERIES.read_text("utf-8").splitlines())
        return [row["text"] for row in rows if "train" in row["_id"]]
    rng = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in rng.zipf(1.3, rng.integers(8, 40))) for _ in range(2251)]


BARE = """
import bm25s
import numpy as np
def mine(queries, k):
    tokens = bm25s.tokenize(queries, token_pattern=r"(?u)\\w+", stopwords=[], show_progress=False)
    model = bm25s.BM25(k1=0.9, b=0.4)
    model.index(tokens, show_progress=False)
    return model.retrieve(tokens, k=k + 1, show_progress=False).documents
"""
OURS = """
import bm25s
import numpy as np
import scipy.sparse
from descant.selection import ExamplePool, Lexical, Targets
def mine(queries, k):
    ids = tuple(map(str, range(len(queries))))
    passages = tuple((row_id,) for row_id in ids)
    pool = ExamplePool(ids, tuple(queries), passages)
    return Lexical().fit(pool).select(Targets(ids, tuple(queries), tuple(map(frozenset, passages))), k)
"""
MEASURE = """
import json, resource, sys, time
queries = json.load(open(sys.argv[1]))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, seconds = peak(), []
for _ in range(int(sys.argv[3])):
    start = time.process_time()
    chosen = mine(queries, int(sys.argv[2]))
    seconds.append(time.process_time() - start)
figures = {"seconds": min(seconds), "peak_mib": peak(), "added_mib": peak() - before}
figures["columns"] = chosen.shape[1]
sys.stdout.write(json.dumps(figures))
"""


def measured(code: str, queries: Path) -> dict[str, float]:
    command = [sys.executable, "-c", code + MEASURE, str(queries), str(K), str(REPEATS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.bench
def test_bm25_selection_against_bare_bm25s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = train_queries()
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps(texts))
    figures = {"bare bm25s": measured(BARE, queries), "descant": measured(OURS, queries)}
    ratio = figures["descant"]["seconds"] / figures["bare bm25s"]["seconds"]
    rows: list[Row] = [
        {
            "system": name,
            "CPU seconds": round(row["seconds"], 3),
            "peak MiB": round(row["peak_mib"]),
            "added MiB": round(row["added_mib"], 1),
            "ratio": round(row["seconds"] / figures["bare bm25s"]["seconds"], 2),
        }
        for name, row in figures.items()
    ]
    notes = [f"{ratio:.2f} times the processor time of bare bm25s (goal: at most {GOAL}), best of {REPEATS}."]
    with capsys.disabled():
        report("bm25", f"Choosing {K} BM25 examples for each of {len(texts):,} queries", rows, notes)
    assert figures["descant"]["columns"] == K
    assert ratio <= GOAL
