"""Parts survive whatever happens to their neighbours, and only missing ones are made again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from descant.artifacts.commit import publish
from descant.artifacts.store import Draft, Store
from descant.core.errors import DataError, ResourceError
from descant.stages.base import StageContext, silent
from descant.stages.map_parts import MapCompute, map_light_parts, map_parts

pytestmark = pytest.mark.ray

SIZES = {f"part-{number}": 10 for number in range(6)}


class Work:
    """Writes a part, and a line of a journal for each attempt; ``faults`` says which parts fail, and how."""

    def __init__(self, folder: Path, journal: Path, faults: dict[str, str]) -> None:
        self.folder, self.journal, self.faults = folder, journal, faults

    def __call__(self) -> "Work":
        return self

    def process(self, name: str) -> int:
        with self.journal.open("a") as stream:
            stream.write(f"{name}\n")
        fault = self.faults.get(name)
        if fault == "bad data":
            raise DataError("E-X", name, "10 rows, 9 expected", "Correct it.")
        if fault == "bug":
            raise KeyError(name)
        kills = {"killed once": 1, "killed four times": 4, "killed always": 99}.get(fault or "", 0)
        if self.journal.read_text().count(name) <= kills:
            os.kill(os.getpid(), signal.SIGKILL)
        publish(self.folder, name, lambda path: path.write_text(name), rows=10)
        return 10


def context(tmp_path: Path, workers: int = 2) -> StageContext:
    draft = Draft(Store(tmp_path).folder("toy", "abc"), "toy", 1, "abc", "toy", {}, {})
    draft.folder.mkdir(parents=True, exist_ok=True)
    return StageContext(draft, {}, MapCompute(workers=workers, cpus=0.5), silent)


def run(tmp_path: Path, faults: dict[str, str], workers: int = 2) -> list[str]:
    """Map the parts and return the attempts, in order of name."""
    journal = tmp_path / "journal"
    journal.write_text("")
    here = context(tmp_path, workers)
    map_parts(here, Work(here.folder, journal, faults), SIZES, unit="rows")
    return sorted(journal.read_text().split())


def attempts(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "journal").read_text().split())


def test_parts_are_mapped_once_each_and_not_again(local_ray: None, tmp_path: Path) -> None:
    assert run(tmp_path, {}) == sorted(SIZES)
    assert run(tmp_path, {}) == []


def test_failed_part_keeps_the_others_and_only_it_is_made_again(local_ray: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"10 rows, 9 expected.*1 of 6 parts failed") as caught:
        run(tmp_path, {"part-3": "bad data"})
    assert "run the same command to resume" in str(caught.value)
    assert context(tmp_path).draft.missing(SIZES) == ["part-3"]
    assert run(tmp_path, {}) == ["part-3"]


def test_bug_in_a_part_is_reported_with_its_name_and_cause(local_ray: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"1 of 6 parts failed: part-2.*KeyError"):
        run(tmp_path, {"part-2": "bug"})


def test_worker_killed_once_is_replaced_and_nothing_is_lost(local_ray: None, tmp_path: Path) -> None:
    made = run(tmp_path, {"part-1": "killed once"})
    assert set(made) == set(SIZES)
    assert context(tmp_path).draft.missing(SIZES) == []


def test_part_that_lost_its_processes_is_tried_again_by_new_ones(local_ray: None, tmp_path: Path) -> None:
    """Ray tries three times within seconds: a node that dies takes longer than that to be noticed."""
    assert run(tmp_path, {"part-1": "killed four times"}).count("part-1") == 5
    assert context(tmp_path).draft.missing(SIZES) == []


def test_part_that_always_kills_its_worker_ends_in_a_resource_error(local_ray: None, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="worker processes died"):
        run(tmp_path, {"part-4": "killed always"})
    assert attempts(tmp_path).count("part-4") <= 6
    assert "part-4" in context(tmp_path).draft.missing(SIZES)
    assert set(run(tmp_path, {})) == set(context(tmp_path).draft.missing([])) | set(attempts(tmp_path))
    assert context(tmp_path).draft.missing(SIZES) == []


def test_single_light_part_is_made_in_this_process(tmp_path: Path) -> None:
    here = context(tmp_path)
    journal = tmp_path / "journal"
    map_light_parts(here, Work(here.folder, journal, {}), {"part-0": 10}, unit="rows")
    assert attempts(tmp_path) == ["part-0"]


def parts(tmp_path: Path) -> dict[str, str]:
    return {name: context(tmp_path).draft.published(name).sha256 for name in SIZES}


def test_no_workers_make_the_same_parts_in_this_process(local_ray: None, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    assert run(tmp_path / "here", {}, workers=0) == run(tmp_path / "there", {})
    assert parts(tmp_path / "here") == parts(tmp_path / "there")
    assert run(tmp_path / "here", {}, workers=0) == []


def test_no_workers_need_no_ray_and_resume_after_a_failed_part(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.stages.test_map_parts import *\n"
        "tmp_path = Path(sys.argv[1])\n"
        "try: run(tmp_path, {'part-3': 'bad data'}, workers=0)\n"
        "except DataError as error: print('1 of 6 parts failed' in str(error))\n"
        "print(context(tmp_path).draft.missing(SIZES), run(tmp_path, {}, workers=0), 'ray' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.split("\n")[:2] == ["True", "['part-3'] ['part-3'] False"]


def test_progress_counts_parts_without_reading_every_entry_again(tmp_path: Path) -> None:
    here, shown = context(tmp_path, workers=0), []
    draft = CountingDraft(here.draft.folder, "toy", 1, "abc", "toy", {}, {})
    publish(draft.folder, "part-2", lambda path: path.write_text("part-2"), rows=10)
    counting = StageContext(
        draft, {}, here.compute, lambda done, total, unit, note: shown.append((done, note))
    )
    journal = tmp_path / "journal"
    journal.touch()
    map_parts(counting, Work(draft.folder, journal, {}), SIZES, unit="rows")
    assert shown == [(10 * number, f"{number}/6 parts") for number in range(1, 7)]
    assert draft.listings <= 3, "the entries are read again for every part"


class CountingDraft(Draft):
    """Counts how often all entries are read."""

    listings = 0

    def missing(self, names: Iterable[str]) -> list[str]:
        self.listings += 1
        return super().missing(names)
