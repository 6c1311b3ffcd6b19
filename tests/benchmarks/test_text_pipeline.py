"""20 MB of text through filter, vocabulary and tokeniser: stages over Ray Data beside one bare process."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.figures import Row, measured, report

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

PARTS = ("filter", "learn", "tokenise")


def row(system: str, figures: dict[str, Any], baseline: float) -> Row:
    rate = figures["documents"] / figures["seconds"]
    return {
        "system": system,
        **{part: round(figures[part], 1) for part in PARTS},
        "seconds": round(figures["seconds"], 1),
        "documents/s": round(rate),
        "ratio": round(rate / baseline, 2),
        "CPU s": round(figures["cpu_seconds"], 1),
        "peak MiB": figures["peak_mib"],
        "cores used by others": round(figures["others_cores"], 2),
    }


def test_text_through_stages_against_one_bare_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "DESCANT_DATA" not in os.environ:
        pytest.skip("DESCANT_DATA is not set")
    files = sorted(map(str, Path(os.environ["DESCANT_DATA"]).glob("lang-text/*/*.jsonl")))
    bare = measured(["-m", "tests.benchmarks.text_bare", *files])
    ours = measured(["-m", "tests.benchmarks.text_with_stages", str(tmp_path / "store"), *files])
    baseline = bare["documents"] / bare["seconds"]
    with_ray = {**ours, "seconds": ours["seconds"] + ours["ray_seconds"]}
    rows = [
        row("one bare process", bare, baseline),
        row("descant stages", ours, baseline),
        row("descant stages with Ray's start", with_ray, baseline),
    ]
    size = sum(Path(file).stat().st_size for file in files) / 1e6
    notes = [
        "Filter: normalise, letters, repetition, language of every text, near-duplicate bands; ours splits too.",
        "Learn: 2,000 continued merges on a tenth of the texts; ours measures side effects on both corpora too.",
        "Ours publishes every part with digests and reads it back; the bare process keeps all in memory.",
    ]
    with capsys.disabled():
        title = f"{size:.0f} MB of text in five languages, {ours['documents']:,} documents"
        report("text-pipeline", title, rows, notes, bare=bare, stages=ours)
    assert abs(ours["documents"] / bare["documents"] - 1) < 0.01
