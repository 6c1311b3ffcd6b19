"""Decomposing the weights of a layer against reading what was decomposed before, as the second start of a job does."""

import time
from pathlib import Path

import pytest
import torch

from descant.adapters.svft.basis import compute_basis, weight_digest
from descant.adapters.svft.source import bases_from, basis_of, write_basis
from tests.benchmarks.figures import Row, report
from tests.benchmarks.svft_step import Projections

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

GOAL = 0.05


@pytest.mark.parametrize("d", [576, 1024])
def test_reading_bases_against_computing_them(
    d: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights = [module.weight.detach() for module in Projections(d).linear()]
    begin = time.perf_counter()
    bases = [compute_basis(weight) for weight in weights]
    computed = time.perf_counter() - begin
    begin = time.perf_counter()
    digests = [weight_digest(weight) for weight in weights]
    hashed = time.perf_counter() - begin
    files = {digest: tmp_path / f"{digest}.safetensors" for digest in digests}
    for basis, path in zip(bases, files.values(), strict=True):
        write_basis(basis, path)
    begin = time.perf_counter()
    with bases_from(files):
        for weight in weights:
            basis_of(weight, weight_digest(weight))
    read = time.perf_counter() - begin
    rows: list[Row] = [
        {"what": "decompose in float64, canonical form", "seconds": round(computed, 2), "ratio": 1.0},
        {"what": "hash, read and check", "seconds": round(read, 3), "ratio": round(read / computed, 4)},
        {"what": "of that, hash", "seconds": round(hashed, 3), "ratio": round(hashed / computed, 4)},
    ]
    with capsys.disabled():
        title = f"Singular vectors of the seven projections of a Llama-3-proportioned layer, d = {d:,}"
        report(
            f"svft-bases-{d}", title, rows, [f"Goal: the second start costs at most {GOAL:.0%} of the first."]
        )
    assert read <= GOAL * computed
