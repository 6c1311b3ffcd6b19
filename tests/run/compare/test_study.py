"""Studies on real Ray Tune with trainings that take no time: budgets, resuming, stopping, failing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from descant.artifacts.store import Store
from descant.core.errors import DataError, NumericsError
from descant.run.compare.cells import Cell, Phase, Point, Record
from descant.run.compare.study import Phases, refuse_all_failed, run_phases
from descant.run.compare.tuning import Listener
from descant.run.profile import Profile, TrialCompute
from tests.run.compare.climbing import Climbing

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

PROFILE = Profile(trial=TrialCompute(most_at_once=2))


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.points: list[tuple[str, Point]] = []
        self.ended: list[Record] = []

    def listener(self) -> Listener:
        def began(cell: Cell) -> None:
            self.began.append(cell.name)

        def validated(cell: Cell, point: Point) -> None:
            self.points.append((cell.name, point))

        return Listener(began, validated, self.ended.append)


def study(folder: Path, **settings: Any) -> tuple[Phases, Heard, Heard]:
    values = {"name": "hills", "budget": {"trials": 3}, "seeds": (1, 2)} | settings
    job = Climbing.model_validate(values)
    tuning, finals = Heard(), Heard()

    @contextmanager
    def listening(phase: Phase, chosen: Mapping[tuple[str, str], Record]) -> Iterator[Listener]:
        yield (tuning if phase == "tuning" else finals).listener()

    phases = run_phases(
        job,
        folder / "study",
        store=Store(folder / "store"),
        profile=PROFILE,
        listening=listening,
    )
    return phases, tuning, finals


def test_every_method_gets_the_same_number_of_trials_and_its_best_runs_with_every_seed(
    tmp_path: Path,
) -> None:
    phases, tuning, finals = study(tmp_path, task_names=("hill", "dune"))
    assert {name: len(records) for name, records in phases.tuning.items()} == {
        (task, method): 3 for task in ("hill", "dune") for method in ("low", "high")
    }
    for name, records in phases.tuning.items():
        best = max(records, key=lambda record: record.score or 0)
        runs = phases.finals[name]
        assert [run.seed for run in runs] == [1, 2]
        assert all(run.setting == best.setting for run in runs)
        assert all(run.score == pytest.approx((best.score or 0) + 1) for run in runs)
    assert len(tuning.points) == 4 * len(tuning.ended)
    assert len(finals.ended) == 8


def test_running_again_runs_nothing_and_gives_equal_records(tmp_path: Path) -> None:
    first, _, _ = study(tmp_path)
    second, tuning, finals = study(tmp_path)
    assert second == first
    assert not tuning.began
    assert not finals.began


@pytest.mark.slow
def test_lost_records_are_made_again_from_what_the_store_holds(tmp_path: Path) -> None:
    first, _, _ = study(tmp_path, log=str(tmp_path / "log"))
    trained = (tmp_path / "log").read_text()
    (tmp_path / "study/records/tuning/hill/low/0001.json").unlink()
    second, tuning, _ = study(tmp_path, log=str(tmp_path / "log"))
    assert tuning.began == ["hill, low, trial 1"]
    assert (tmp_path / "log").read_text() == trained
    assert [r.score for r in second.tuning["hill", "low"]] == [r.score for r in first.tuning["hill", "low"]]


@pytest.mark.slow
def test_grid_tries_every_choice_once(tmp_path: Path) -> None:
    phases, _, _ = study(tmp_path, search="grid", choices=(0.1, 0.3, 0.2))
    for records in phases.tuning.values():
        assert sorted(float(str(record.setting["boost"])) for record in records) == [0.1, 0.2, 0.3]


@pytest.mark.slow
def test_optuna_searches_within_each_method(tmp_path: Path) -> None:
    phases, _, _ = study(tmp_path, search="optuna", budget={"trials": 6}, seeds=(1,))
    for records in phases.tuning.values():
        assert len(records) == 6
        assert len({record.setting["boost"] for record in records}) == 6


def test_asha_stops_a_trial_that_is_behind_and_counts_it(tmp_path: Path) -> None:
    phases, _, _ = study(tmp_path, scheduler="asha", validations=4, budget={"trials": 5}, seeds=(1,))
    for records in phases.tuning.values():
        assert len(records) == 5
        stopped = [record for record in records if record.status == "stopped"]
        assert stopped
        best = max((r for r in records if r.status == "finished"), key=lambda r: r.score or 0)
        for record in stopped:
            assert len(record.curve) < 4
            assert record.curve[-1].score <= best.curve[len(record.curve) - 1].score


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("error", "failed", "the rows: are not there"),
        ("nan", "non-finite", "the loss: is nan"),
        ("bug", "failed", "ZeroDivisionError: division by zero"),
        ("die", "failed", "its process died"),
    ],
)
def test_a_method_that_fails_is_named_with_its_cause_and_others_finish(
    tmp_path: Path, how: str, status: str, words: str
) -> None:
    phases, _, _ = study(tmp_path, fails={"high": how}, budget={"trials": 2}, seeds=(1,))
    assert [record.status for record in phases.tuning["hill", "high"]] == [status] * 2
    assert all(words in record.cause for record in phases.tuning["hill", "high"])
    assert ("hill", "high") not in phases.finals
    assert [record.status for record in phases.tuning["hill", "low"]] == ["finished"] * 2
    assert len(phases.finals["hill", "low"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("how", "error"), [("error", DataError), ("nan", NumericsError)])
def test_when_every_method_fails_the_command_fails_as_the_first(
    tmp_path: Path, how: str, error: type[Exception]
) -> None:
    phases, _, _ = study(tmp_path, fails={"high": how, "low": how}, budget={"trials": 1})
    with pytest.raises(error, match="no method has a final run; the first that failed: hill, low"):
        refuse_all_failed("hills", phases)


@pytest.mark.slow
def test_a_missing_measure_fails_the_trial(tmp_path: Path) -> None:
    phases, _, _ = study(tmp_path, reported="depth", budget={"trials": 1})
    assert [r.cause for r in phases.tuning["hill", "low"]] == [
        "hill, low, trial 0: the evaluation has no measure height"
    ]
    assert not phases.finals


@pytest.mark.slow
def test_a_budget_in_seconds_is_spent_by_every_method(tmp_path: Path) -> None:
    phases, _, _ = study(tmp_path, budget={"seconds": 2.5}, seconds=0.2, seeds=(1,))
    for records in phases.tuning.values():
        spent = [max(1.0, record.seconds) for record in records]
        assert sum(spent) >= 2.5
        assert sum(spent[:-2]) < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_lost_trials_of_a_scheduled_study_are_made_again_beside_those_that_stand(
    tmp_path: Path, scheduler: str
) -> None:
    settings: dict[str, Any] = {
        "scheduler": scheduler,
        "validations": 4,
        "budget": {"trials": 6},
        "seeds": (1,),
        "methods_named": ("low",),
    }
    first, _, _ = study(tmp_path, **settings)
    if scheduler == "asha":  # the median rule has too few trials here to stop one
        assert {record.status for record in first.tuning["hill", "low"]} == {"finished", "stopped"}
    for number in (2, 4):
        (tmp_path / f"study/records/tuning/hill/low/{number:04d}.json").unlink()
    second, tuning, _ = study(tmp_path, **settings)
    assert sorted(tuning.began) == ["hill, low, trial 2", "hill, low, trial 4"]
    assert [record.number for record in second.tuning["hill", "low"]] == list(range(6))


@pytest.mark.slow
def test_a_failed_seed_is_named_and_tried_again(tmp_path: Path) -> None:
    failing, _, _ = study(tmp_path, fails={"high": "error"}, fails_in="final")
    assert [record.status for record in failing.finals["hill", "high"]] == ["failed", "failed"]
    assert [record.status for record in failing.finals["hill", "low"]] == ["finished", "finished"]
    again, tuning, finals = study(tmp_path, fails={"high": "error"}, fails_in="final")
    assert not tuning.began
    assert sorted(finals.began) == ["hill, high, seed 0", "hill, high, seed 1"]
    assert again.finals["hill", "low"] == failing.finals["hill", "low"]


def test_what_a_listener_raises_ends_the_study_with_that_error(tmp_path: Path) -> None:
    def refuse(record: Record) -> None:
        raise DataError("E-TEST", "the disk", "is full", "Nothing was kept.")

    @contextmanager
    def listening(phase: Phase, chosen: Mapping[tuple[str, str], Record]) -> Iterator[Listener]:
        yield Listener(lambda cell: None, lambda cell, point: None, refuse)

    job = Climbing.model_validate({"name": "hills", "budget": {"trials": 3}, "seeds": (1,)})
    with pytest.raises(DataError, match="the disk: is full"):
        run_phases(
            job, tmp_path / "study", store=Store(tmp_path / "store"), profile=PROFILE, listening=listening
        )
