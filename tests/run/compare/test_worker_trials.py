"""Trials spread over several workers of Ray Train: as many as there is room for, with the numbers of one process."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jobs.compare_adapters import CompareAdapters

from descant.artifacts.store import Store
from descant.run.compare.cells import Phase, Record
from descant.run.compare.study import Phases, run_phases
from descant.run.compare.tuning import Listener
from descant.run.profile import Profile, TrialCompute

SHIPPED = Path(__file__).parents[3] / "jobs" / "data" / "sentence_polarity"
RECIPE: dict[str, Any] = {
    "job": "compare_adapters",
    "name": "workers",
    "seed": 17,
    "budget": {"trials": 1},
    "seeds": [1],
    "on": [
        {
            "kind": "labels",
            "task": {
                "kind": "classification",
                "name": "polarity",
                "source": {
                    "kind": "labelled_text",
                    "format": "jsonl",
                    "train": str(SHIPPED / "train.jsonl"),
                    "test": str(SHIPPED / "test.jsonl"),
                    "text": "sentence",
                },
            },
            "classifier": {
                "model": {"kind": "tiny", "architecture": "bert"},
                "pooling": "mean",
                "max_tokens": 32,
            },
            "head_learning_rate": 1.0e-2,
            "rows": {"train": 64, "validation": 32, "test": 32},
            "training": {"global_batch": 16, "num_train_epochs": 1},
        }
    ],
    "methods": [
        {
            "name": name,
            "method": {"kind": "lora", "r": r, "lora_alpha": 8},
            "space": {"learning_rate": {"log_uniform": [1.0e-3, 1.0e-1]}},
        }
        for name, r in (("lora r=2", 2), ("lora r=4", 4))
    ],
}


def studied(folder: Path, workers: int, **settings: Any) -> Phases:
    job = CompareAdapters.model_validate(copy.deepcopy(RECIPE) | settings)

    @contextmanager
    def listening(phase: Phase, chosen: Mapping[tuple[str, str], Record]) -> Iterator[Listener]:
        yield Listener(lambda cell: None, lambda cell, point: None, lambda record: None)

    profile = Profile(trial=TrialCompute(workers=workers, cpus=0.5))
    store = Store(folder / "store")
    return run_phases(job, folder / "study", store=store, profile=profile, listening=listening)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_trials_over_two_workers_have_the_numbers_of_trials_in_one_process(tmp_path: Path) -> None:
    one, two = studied(tmp_path / "one", 0), studied(tmp_path / "two", 2)
    for phase in ("tuning", "finals"):
        for name, records in getattr(one, phase).items():
            for a, b in zip(records, getattr(two, phase)[name], strict=True):
                assert (a.status, b.status) == ("finished", "finished"), (a.cause, b.cause)
                assert (a.setting, a.score) == (b.setting, pytest.approx(b.score, abs=1e-6))
                assert [point.step for point in a.curve] == [point.step for point in b.curve]


@pytest.mark.parametrize(
    ("trial", "cluster", "expected"),
    [
        (TrialCompute(cpus=1), {"CPU": 8}, None),
        (TrialCompute(workers=2, cpus=1), {"CPU": 8}, 3),
        (TrialCompute(workers=2, cpus=1, gpus=1), {"CPU": 64, "GPU": 8}, 4),
        (TrialCompute(workers=8, cpus=4, gpus=1), {"CPU": 64, "GPU": 8}, 1),
        (TrialCompute(workers=8, cpus=4), {"CPU": 4}, 1),
        (TrialCompute(workers=2, most_at_once=5), {"CPU": 4}, 5),
    ],
)
def test_as_many_trials_at_once_as_the_cluster_has_workers_for(
    trial: TrialCompute, cluster: dict[str, float], expected: int | None
) -> None:
    assert trial.concurrent(cluster) == expected
