"""The smoke comparison as a user runs it: to its end, again, asked to stop and killed in the middle."""

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


def interrupted(recipe: Path, store: Path, signal_number: int, *, least: int) -> tuple[int, str]:
    """Run until there are ``least`` records, then send the signal; the exit code and what was said to stderr."""
    said = store.with_suffix(".txt")
    with said.open("wb") as stderr:
        running = subprocess.Popen(
            command(recipe, store),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=ROOT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 180
    while len(records(store)) < least and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    assert running.poll() is None, f"it ended before it could be interrupted: {said.read_text()}"
    running.send_signal(signal_number)
    return running.wait(timeout=120), said.read_text()


@pytest.mark.parametrize(
    ("recipe", "methods", "trials", "seeds", "asked_first"),
    [(ADAPTERS, 8, 2, 2, True), (VOCABULARIES, 4, 1, 2, False)],
    ids=["adapters", "vocabularies"],
)
def test_killed_comparison_goes_on_to_the_same_table(
    tmp_path: Path, recipe: Path, methods: int, trials: int, seeds: int, asked_first: bool
) -> None:
    cells = methods * (trials + seeds)
    started = time.monotonic()
    printed = run(recipe, tmp_path / "whole")
    assert time.monotonic() - started < 300
    table = (study_folder(tmp_path / "whole") / "table.tsv").read_bytes()
    assert len(table.splitlines()) == 1 + methods * seeds
    assert "cannot be told from" in printed or "best" in printed

    killed = tmp_path / "killed"
    if asked_first:  # to stop: it ends with 75 and keeps its records
        code, said = interrupted(recipe, killed, signal.SIGTERM, least=3)
        assert code == 75, said
        assert "asked to stop" in said
        stopped = records(killed)
        assert 3 <= len(stopped) < cells
    code, said = interrupted(recipe, killed, signal.SIGKILL, least=methods)
    assert code == -signal.SIGKILL
    before = records(killed)
    assert methods <= len(before) < cells
    if asked_first:
        assert stopped.items() <= before.items(), "what was there is not made again"

    run(recipe, killed)
    kept = study_folder(killed) / "records"
    assert len(list(kept.glob("**/*.json"))) == cells
    assert (study_folder(killed) / "table.tsv").read_bytes() == table

    before = records(killed)
    again = run(recipe, killed)
    assert "report.html" in again
    assert "[1/" not in again, "it made something"
    assert records(killed) == before
