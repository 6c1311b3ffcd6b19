"""The smoke comparison as a user runs it: to its end, again, and killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS, VOCABULARIES = (
    ROOT / "jobs" / "recipes" / job / "smoke.yaml" for job in ("compare_adapters", "compare_vocabularies")
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def command(recipe: Path, store: Path) -> list[str]:
    arguments = ["compare", str(recipe), "--store", str(store), "--compute", str(ROOT / "clusters" / "local")]
    return [sys.executable, "-m", "descant.cli", *arguments]


def run(recipe: Path, store: Path) -> str:
    done = subprocess.run(command(recipe, store), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def study_folder(store: Path) -> Path:
    (report,) = store.glob("study/*/*/report.html")
    return report.parent


def records(store: Path) -> dict[str, float]:
    """When each record was written, by its name."""
    found = store.glob("study/*/records/**/*.json")
    return {str(path.relative_to(store)): path.stat().st_mtime for path in found}


@pytest.mark.parametrize(
    ("recipe", "methods", "trials", "seeds"),
    [(ADAPTERS, 8, 2, 2), (VOCABULARIES, 4, 1, 2)],
    ids=["adapters", "vocabularies"],
)
def test_killed_comparison_goes_on_to_the_same_table(
    tmp_path: Path, recipe: Path, methods: int, trials: int, seeds: int
) -> None:
    cells = methods * (trials + seeds)
    started = time.monotonic()
    printed = run(recipe, tmp_path / "whole")
    assert time.monotonic() - started < 300
    table = (study_folder(tmp_path / "whole") / "table.tsv").read_bytes()
    assert len(table.splitlines()) == 1 + methods * seeds
    assert "cannot be told from" in printed or "best" in printed

    killed = tmp_path / "killed"
    running = subprocess.Popen(
        command(recipe, killed),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while len(records(killed)) < methods and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    assert running.poll() is None, "it ended before it could be killed"
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = records(killed)
    assert methods <= len(before) < cells

    run(recipe, killed)
    kept = study_folder(killed) / "records"
    assert len(list(kept.glob("**/*.json"))) == cells
    assert (study_folder(killed) / "table.tsv").read_bytes() == table

    before = records(killed)
    again = run(recipe, killed)
    assert "report.html" in again
    assert "[1/" not in again, "it made something"
    assert records(killed) == before


def test_comparison_that_is_asked_to_stop_ends_with_75_and_keeps_its_records(tmp_path: Path) -> None:
    running = subprocess.Popen(
        command(ADAPTERS, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while len(records(tmp_path)) < 3 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    running.terminate()
    _, printed = running.communicate(timeout=120)
    assert running.returncode == 75, printed.decode()
    assert b"asked to stop" in printed
    assert len(records(tmp_path)) >= 3
