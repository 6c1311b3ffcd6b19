"""The data sets that ship with the recipes: golden counts, checksums, and what their README says."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from descant.core.records import Judgement, Passage, Query, Triple
from descant.data.beir import Beir

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "jobs" / "data"


@pytest.mark.parametrize(
    ("name", "passages", "queries", "train", "test", "train_queries"),
    [("arc_easy", 10654, 3439, 2251, 1188, 2251), ("strategyqa_facts", 1428, 320, 643, 187, 240)],
)
def test_shipped_data_has_its_golden_counts(
    name: str, passages: int, queries: int, train: int, test: int, train_queries: int
) -> None:
    source = Beir(path=str(FOLDER / name))
    source.check()
    counted = [
        (source.passages(), Passage, passages),
        (source.queries(), Query, queries),
        (source.judgements("train"), Judgement, train),
        (source.judgements("test"), Judgement, test),
        (source.triples(), Triple, train_queries),
    ]
    for stream, kind, expected in counted:
        rows: list[object] = list(stream)
        assert all(isinstance(row, kind) for row in rows)
        assert len(rows) == expected


@pytest.mark.parametrize(("name", "licence"), [("arc_easy", "CC BY-SA 4.0"), ("strategyqa_facts", "MIT")])
def test_shipped_data_readme_states_licence_and_true_checksums(name: str, licence: str) -> None:
    readme = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert licence in readme
    stated = re.findall(r"^\| (\S+) \| ([0-9]+) \| ([0-9a-f]{64}) \|$", readme, re.MULTILINE)
    assert len(stated) == 4
    for file, size, digest in stated:
        data = (FOLDER / name / file).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (int(size), digest)


def test_data_specs_import_no_heavy_library() -> None:
    heavy = ("torch", "pyarrow", "numpy", "ray")
    code = f"import sys, descant.data; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
