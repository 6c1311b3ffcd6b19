"""In-context examples as what a comparison varies (arXiv:2410.20088): what cells make of them, share and refuse."""

import copy
from pathlib import Path
from typing import Any

import pytest
from jobs.compare_adapters import CompareAdapters
from pydantic import ValidationError

from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import read_table
from descant.run.compare.cells import SCORE, TRAINED, Phase
from descant.run.profile import Profile
from descant.stages.base import Step, in_order
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.mine_examples import MineExamples
from descant.stages.train import VECTORS
from tests.pipeline import made

SHIPPED = Path(__file__).parents[2] / "jobs" / "data" / "strategyqa_facts"
LORA = {"kind": "lora", "r": 2, "lora_alpha": 4, "target_modules": "all-linear"}
RATE = {"learning_rate": {"choice": [1.0e-3]}}
RECIPE: dict[str, Any] = {
    "job": "compare_adapters",
    "name": "examples",
    "seed": 17,
    "budget": {"trials": 1},
    "seeds": [1],
    "on": [
        {
            "kind": "search",
            "called": "facts",
            "data": {"kind": "beir", "path": str(SHIPPED)},
            "encoder": {
                "model": {"kind": "tiny", "architecture": "bert"},
                "pooling": "mean",
                "max_query_tokens": 256,
                "max_passage_tokens": 32,
                "prompt": {"query": "{query}", "example": "{query}\n{passage}\n\n", "max_example_tokens": 16},
            },
            "rows": {"train": 16, "validation": 12},
            "training": {"global_batch": 8, "num_train_epochs": 1},
        }
    ],
    "methods": [
        {"name": "none", "method": LORA, "space": RATE},
        {
            "name": "lexical",
            "method": LORA,
            "examples": {"selector": {"kind": "lexical"}, "k_train": 2, "k_test": 2},
            "space": {**RATE, "examples.k_test": {"choice": [0, 2]}},
        },
        {
            "name": "test only",
            "method": LORA,
            "examples": {"selector": {"kind": "dense"}, "k_train": 0, "k_test": 1},
            "space": RATE,
        },
    ],
}
SETTINGS: dict[str, Any] = {
    "none": {"learning_rate": 1e-3},
    "lexical": {"learning_rate": 1e-3, "examples.k_test": 2},
    "test only": {"learning_rate": 1e-3},
}


def comparison(**task: Any) -> CompareAdapters:
    recipe = copy.deepcopy(RECIPE)
    recipe["on"][0] |= task
    return CompareAdapters.model_validate(recipe)


def cell(job: CompareAdapters, method: str, phase: Phase = "tuning", **setting: Any) -> dict[str, Step]:
    return dict(job.targets("facts", method, SETTINGS[method] | setting, seed=1, phase=phase))


def steps(target: Step, kind: type) -> list[Step]:
    return [step for step in in_order([target]) if isinstance(step.stage, kind)]


def test_examples_at_test_time_are_no_part_of_the_training() -> None:
    job = comparison()
    with_two, with_none = cell(job, "lexical"), cell(job, "lexical", **{"examples.k_test": 0})
    assert with_two[TRAINED].fingerprint == with_none[TRAINED].fingerprint
    assert with_two[SCORE].fingerprint != with_none[SCORE].fingerprint
    assert cell(job, "none")[TRAINED].fingerprint == cell(job, "test only")[TRAINED].fingerprint
    assert cell(job, "none")[TRAINED].fingerprint != with_two[TRAINED].fingerprint


@pytest.mark.parametrize(("phase", "split"), [("tuning", "validation"), ("final", "test")])
def test_each_split_is_shown_its_own_number_of_examples(phase: Phase, split: str) -> None:
    job = comparison()

    def mined(method: str, target: str) -> set[tuple[int, tuple[str, ...]]]:
        stages = [step.stage for step in steps(cell(job, method, phase)[target], MineExamples)]
        return {(stage.k, stage.splits) for stage in stages if isinstance(stage, MineExamples)}

    assert mined("lexical", TRAINED) == {(2, ("train",))}
    assert mined("lexical", SCORE) == {(2, ("train",)), (2, (split,))}
    assert mined("test only", TRAINED) == set()
    assert mined("test only", SCORE) == {(1, (split,))}
    assert mined("none", SCORE) == set()


def test_passages_are_encoded_by_the_adapted_model_where_both_sides_are() -> None:
    queries_only = cell(comparison(), "lexical")
    assert VECTORS in queries_only[TRAINED].inputs
    assert all("model" not in step.inputs for step in steps(queries_only[SCORE], EmbedPassages))
    both = cell(comparison(adapt="both"), "lexical")
    assert VECTORS not in both[TRAINED].inputs
    (passages,) = steps(both[SCORE], EmbedPassages)
    assert passages.inputs["model"].fingerprint == both[TRAINED].fingerprint


@pytest.mark.parametrize("adapt", ["queries", "both"])
def test_cells_with_and_without_examples_run(adapt: str, tmp_path: Path) -> None:
    job, store, profile = comparison(adapt=adapt), Store(tmp_path / "store"), Profile().of_trial()
    rankings = {}
    for method in SETTINGS:
        target = cell(job, method, "final")[SCORE]
        results = made(target, store, profile)
        queries = results[steps(target, EmbedQueries)[-1].label]
        shown = {"none": 0, "lexical": 2, "test only": 1}[method]
        assert found_examples(results, "test") == {shown} - {0}
        assert found_examples(results, "train") == ({2} if method == "lexical" else set())
        assert queries.manifest.facts["adapts"] == adapt
        rankings[method] = results[target.label].part("scores").sha256
    assert len(set(rankings.values())) == 3


def found_examples(results: dict[str, Artifact], split: str) -> set[int]:
    """How many examples the queries of ``split`` got."""
    mined = [result for label, result in results.items() if label.startswith("choose")]
    rows = [row for result in mined for row in read_table(result.path("examples-00000")).to_pylist()]
    return {len(row["example_ids"]) for row in rows if row["split"] == split}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods.1.space": {"learning_rate": RATE["learning_rate"], "examples.k": {"choice": [2]}}}, "k"),
        ({"methods.0.space": {**RATE, "examples.k_train": {"choice": [1, 2]}}}, "selector"),
        ({"on.0.rows": {"train": 16, "validation": 12, "test": 5}}, "all test queries"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    recipe = copy.deepcopy(RECIPE)
    for path, value in change.items():
        *parents, last = path.split(".")
        place: Any = recipe
        for name in parents:
            place = place[int(name)] if name.isdigit() else place[name]
        place[last] = value
    with pytest.raises(ValidationError, match=message):
        CompareAdapters.model_validate(recipe)


def test_examples_on_a_task_that_is_no_retrieval_are_refused(tmp_path: Path) -> None:
    for split, word in (("train", "good"), ("test", "bad")):
        (tmp_path / split).write_text(f'{{"id": "a", "sentence": "{word}", "label": "1"}}\n')
    recipe = copy.deepcopy(RECIPE)
    source = {"kind": "labelled_text", "format": "jsonl"} | {
        split: str(tmp_path / split) for split in ("train", "test")
    }
    recipe["on"] = [
        {
            "kind": "labels",
            "task": {"kind": "classification", "name": "polarity", "source": {**source, "text": "sentence"}},
            "classifier": {
                "model": {"kind": "tiny", "architecture": "bert"},
                "pooling": "mean",
                "max_tokens": 32,
            },
            "head_learning_rate": 1e-2,
            "rows": {"train": 1, "validation": 1},
            "training": {"global_batch": 1, "num_train_epochs": 1},
        }
    ]
    with pytest.raises(ValidationError, match="polarity is no retrieval"):
        CompareAdapters.model_validate(recipe)
