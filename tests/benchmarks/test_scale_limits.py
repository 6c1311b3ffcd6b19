"""What one process pays for every id, part and passage: the figures behind the limits in docs/scale.md.

Parts are entries as the commit protocol writes them, over empty files. Memory is what Python allocated (tracemalloc),
in a run of its own: tracing slows everything down.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from descant.artifacts.commit import ENTRIES, publish, published
from descant.artifacts.manifest import MANIFEST, Part, read_manifest
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import publish_table, vector_table
from descant.data import Beir
from descant.data.rows import Row
from descant.data.unique import FirstSeen
from descant.indexes import Exact
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.fetch import Fetch
from tests.benchmarks.figures import Row as Line
from tests.benchmarks.figures import report
from tests.pipeline import made

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

IDS, PARTS = 1_000_000, 100_000
DOCUMENTS, WORDS = 100_000, 55
ROWS, WIDTH, QUERIES, TOP = 100_000, 384, 1_000, 100
REPEATS = 3


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Processor seconds, the least of several times, and what the last one gave."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        seconds.append(time.process_time() - begin)
    return min(seconds), result


def bytes_of(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    kept = work()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return held


def check_ids() -> FirstSeen:
    seen = FirstSeen()
    for number in range(IDS):
        key = f"document-{number:09d}"
        seen.add(Row(Path("corpus.jsonl"), number, {}), key, key)
    return seen


def ids_as_read() -> list[str]:
    ids: list[str] = pa.array([f"document-{number:09d}" for number in range(IDS)]).to_pylist()
    return ids


def many_parts(folder: Path) -> list[str]:
    """A published part, and as many copies of its entry as there are parts, each over an empty file."""
    table = vector_table(["a"], np.ones((1, WIDTH), np.float32))
    first = publish_table(folder, "vectors-00000", table, facts={"cut": 0})
    for number in range(1, PARTS):
        name = f"vectors-{number:05d}"
        part = first.model_copy(update={"name": name, "path": name})
        (folder / name).touch()
        entry = json.dumps(part.model_dump(mode="json"), indent=1, sort_keys=True)
        (folder / ENTRIES / f"{name}.json").write_text(entry)
    return [f"vectors-{number:05d}" for number in range(PARTS)]


def finished(folder: Path, parts: list[Part]) -> Artifact:
    values = {
        **{
            "schema_version": 1,
            "stage": "embed",
            "version": 1,
            "fingerprint": "f",
            "label": "embed",
            "spec": {},
        },
        **{"inputs": {}, "facts": {}, "provenance": {}, "started": "", "finished": ""},
        "parts": [part.model_dump(mode="json") for part in parts],
    }
    (folder / MANIFEST).write_text(json.dumps(values, indent=1))
    manifest = read_manifest(folder)
    assert manifest is not None
    return Artifact(folder, manifest)


def made_up_corpus(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as lines:
        for number in range(DOCUMENTS):
            text = " ".join(f"w{word}" for word in rng.zipf(1.3, WORDS) % 50_000)
            lines.write(json.dumps({"_id": str(number), "title": "", "text": text}) + "\n")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "w1 w2"}\n')
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    return folder


def searching() -> dict[str, float]:
    import faiss

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS + QUERIES, WIDTH), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        shard = Exact().fit(vectors[:ROWS])
        seconds, _ = timed(lambda: shard.search(vectors[ROWS:], TOP), REPEATS)
    finally:
        faiss.omp_set_num_threads(threads)
    return {"seconds": seconds, "gigaflops": 2e-9 * ROWS * QUERIES * WIDTH / seconds}


def test_what_every_id_part_and_passage_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked_bytes, listed_bytes = bytes_of(check_ids), bytes_of(ids_as_read)
    checking, _ = timed(check_ids)

    folder = tmp_path / "embed" / "parts"
    names = many_parts(folder)
    listing, found = timed(lambda: sum(1 for _ in folder.iterdir()))
    assert found > PARTS
    entries, parts = timed(lambda: [published(folder, name) for name in names])
    artifact = finished(folder, parts)
    manifest_bytes = (folder / MANIFEST).stat().st_size
    reading, _ = timed(lambda: read_manifest(folder))
    looking, _ = timed(lambda: [artifact.part(name) for name in names])

    corpus = made_up_corpus(tmp_path / "corpus")
    step = Step("fetch", Fetch(source=Beir(path=str(corpus))))
    stores = iter(Store(tmp_path / f"store-{number}") for number in range(REPEATS))
    fetching, results = timed(lambda: made(step, next(stores), Profile()), REPEATS)
    assert results["fetch"].manifest.facts["passages"] == DOCUMENTS

    block = np.random.default_rng(0).bytes(1 << 26)
    blocks = []
    for number in range(8):
        data = number.to_bytes(4) + block
        begin = time.perf_counter()
        publish(tmp_path / "moved", f"block-{number}", lambda path, data=data: path.write_bytes(data), rows=1)
        blocks.append(time.perf_counter() - begin)
    moving = 2 * len(block) / min(blocks) / 1e6
    search = searching()

    figures = {
        "bytes_per_id_checked": round(checked_bytes / IDS, 1),
        "bytes_per_id_listed": round(listed_bytes / IDS, 1),
        "bytes_per_part": round(manifest_bytes / PARTS, 1),
        "seconds_per_part": round((entries + reading) / PARTS, 7),
        "rows_fetched_per_second": round(DOCUMENTS / fetching),
        "megabytes_per_worker": round(moving, 1),
        "gigaflops_per_index_worker": round(search["gigaflops"], 1),
    }
    gib = 2**30
    rows: list[Line] = [
        {
            "what": f"memory of the check of ids, {IDS:,} ids",
            "measured": f"{checked_bytes / 1e6:,.0f} MB, {checking:.1f} s",
            "each": f"{checked_bytes / IDS:.0f} bytes",
            "at 10^8": f"{checked_bytes / IDS * 1e8 / gib:.1f} GiB",
        },
        {
            "what": f"memory of the ids of an index, {IDS:,} ids",
            "measured": f"{listed_bytes / 1e6:,.0f} MB",
            "each": f"{listed_bytes / IDS:.0f} bytes",
            "at 10^8": f"{listed_bytes / IDS * 1e8 / gib:.1f} GiB",
        },
        {
            "what": f"names of a folder of {PARTS:,} empty files",
            "measured": f"{listing:.2f} s",
            "each": f"{1e6 * listing / PARTS:.1f} µs",
            "at 10^8": "",
        },
        {
            "what": f"entries of {PARTS:,} parts, read and checked",
            "measured": f"{entries:.1f} s",
            "each": f"{1e6 * entries / PARTS:.0f} µs",
            "at 10^8": "",
        },
        {
            "what": f"manifest of {PARTS:,} parts, read and checked",
            "measured": f"{manifest_bytes / 1e6:.1f} MB, {reading:.1f} s",
            "each": f"{manifest_bytes / PARTS:.0f} bytes, {1e6 * reading / PARTS:.0f} µs",
            "at 10^8": "",
        },
        {
            "what": f"{PARTS:,} parts by their names",
            "measured": f"{looking:.2f} s",
            "each": f"{1e6 * looking / PARTS:.1f} µs",
            "at 10^8": "",
        },
        {
            "what": f"fetch stage, {DOCUMENTS:,} passages of {WORDS} words",
            "measured": f"{fetching:.1f} s",
            "each": f"{1e6 * fetching / DOCUMENTS:.0f} µs",
            "at 10^8": f"{fetching / DOCUMENTS * 1e8 / 3600:.1f} h",
        },
        {
            "what": "publishing blocks of 64 MiB: written, synced, read back",
            "measured": f"{moving:,.0f} MB/s",
            "each": "",
            "at 10^8": "",
        },
        {
            "what": f"exact search, {QUERIES:,} queries, {ROWS:,} x {WIDTH}, one thread",
            "measured": f"{search['seconds']:.2f} s",
            "each": f"{search['gigaflops']:.1f} GFLOP/s",
            "at 10^8": "",
        },
    ]
    notes = [
        "At 10^8 is a multiple of what was measured, not measured.",
        f"Seconds are the processor's, of fetching and searching the least of {REPEATS}; publishing is by the "
        "clock, the fastest block of 8. Others were at work on the machine.",
        f"Memory is Python's own, by tracemalloc; ids are of {len('document-000000000')} letters.",
        "The folder and its files had just been written, so nothing came from a disk; on a network file system each "
        "entry is a round trip.",
    ]
    with capsys.disabled():
        report(
            "scale-limits", "What every id, part and passage costs one process", rows, notes, rates=figures
        )
    assert 100 < figures["bytes_per_id_checked"] < 400
