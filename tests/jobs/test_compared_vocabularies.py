"""What a comparison of vocabularies may vary: everything that a way from a base to a language is made of."""

import copy
from pathlib import Path
from typing import Any

import pytest
from jobs.compare_vocabularies import CompareVocabularies
from pydantic import ValidationError

from descant.run.compare.cells import SCORE, TRAINED
from descant.stages.base import Stage, Step, in_order
from descant.stages.initialise_embeddings import InitialiseEmbeddings
from descant.stages.learn_vocabulary import LearnVocabulary
from descant.stages.pack_texts import PackTexts
from descant.stages.train_text import TrainText

SHIPPED = Path(__file__).parents[2] / "jobs" / "data" / "open_source_guides"
TURKISH, ENGLISH = (
    {"text": {"files": [str(SHIPPED / f"{name}.jsonl")]}, "test": 0.1, "tokenizer": 0.4}
    for name in ("tr", "en")
)
RATE = {"learning_rate": {"choice": [1.0e-3]}}
RECIPE: dict[str, Any] = {
    "name": "vocabularies",
    "budget": {"trials": 1},
    "seeds": [1],
    "model": {"model": {"kind": "tiny", "architecture": "llama"}, "max_tokens": 64},
    "languages": [
        {"name": "turkish", "text": TURKISH},
        {
            "name": "turkish-other-base",
            "text": TURKISH,
            "model": {"model": {"kind": "tiny", "architecture": "llama", "seed": 5}, "max_tokens": 64},
        },
    ],
    "base_language": ENGLISH,
    "text": {"bytes": 4000},
    "replay": 0.1,
    "training": {"global_batch": 4},
    "ways": [
        {"name": "none", "method": {"kind": "full"}, "space": RATE},
        {
            "name": "more text",
            "method": {"kind": "lora", "r": 2, "lora_alpha": 4},
            "text": {"bytes": 8000},
            "replay": 0.5,
            "space": RATE,
        },
        {
            "name": "searched",
            "vocabulary": {
                "extension": {"kind": "continued_merges", "num_new": 100},
                "initialiser": {"kind": "weighted_mean"},
            },
            "method": {"kind": "lora", "r": 2, "lora_alpha": 4},
            "space": {
                "learning_rate": {"log_uniform": [1.0e-4, 1.0e-3]},
                "method.r": {"choice": [2, 4]},
                "vocabulary.extension.num_new": {"choice": [50, 100]},
                "vocabulary.initialiser.kind": {"choice": ["mean", "random"]},
                "text.bytes": {"choice": [2000, 4000]},
                "replay": {"uniform": [0.0, 0.4]},
            },
        },
    ],
}
SETTING = {
    "learning_rate": 5e-4,
    "method.r": 4,
    "vocabulary.extension.num_new": 50,
    "vocabulary.initialiser.kind": "random",
    "text.bytes": 2000,
    "replay": 0.25,
}


def comparison(**way: Any) -> CompareVocabularies:
    recipe = copy.deepcopy(RECIPE)
    recipe["ways"][-1] |= way
    return CompareVocabularies.model_validate(recipe)


def cell(method: str, task: str = "turkish", **setting: Any) -> dict[str, Step]:
    return dict(comparison().targets(task, method, setting, seed=1, phase="tuning"))


def stage(target: Step, kind: type[Stage]) -> Any:
    (found,) = (step.stage for step in in_order([target]) if isinstance(step.stage, kind))
    return found


def test_every_part_of_a_way_can_be_an_axis() -> None:
    trained = cell("searched", **SETTING)[TRAINED]
    settings = stage(trained, TrainText).settings
    assert (settings.learning_rate, settings.method.r, settings.seed) == (5e-4, 4, 1)
    assert stage(trained, LearnVocabulary).extension.num_new == 50
    assert stage(trained, InitialiseEmbeddings).initialiser.kind == "random"
    packed = stage(trained, PackTexts)
    assert (packed.budget.bytes, packed.replay) == (2000, 0.25)


def test_steps_made_before_the_trials_have_labels_of_their_own() -> None:
    steps = in_order(comparison().steps().values())
    labels = [step.label for step in steps]
    assert len(set(labels)) == len(labels)


def test_ways_read_the_same_text_unless_they_ask_for_other() -> None:
    plain, more = (
        stage(cell(name, learning_rate=1e-3)[TRAINED], PackTexts) for name in ("none", "more text")
    )
    assert (plain.budget.bytes, plain.replay) == (4000, 0.1)
    assert (more.budget.bytes, more.replay) == (8000, 0.5)


def test_a_language_may_have_a_base_of_its_own() -> None:
    job = comparison()
    one, other = (cell("none", task, learning_rate=1e-3) for task in job.tasks())
    assert stage(one[TRAINED], TrainText).model == job.model
    assert stage(other[TRAINED], TrainText).model == job.languages[1].model
    untrained = [job.base_targets(task)[SCORE].stage for task in job.tasks()]
    assert untrained[0] != untrained[1]
    assert job.base_name() == "tiny random llama"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"vocabulary.extension.size": {"choice": [1, 2]}}, r"size\s+Extra inputs"),
        (
            {"vocabulary.extension.num_new": {"uniform": [50, 500]}},
            "valid integer, got a number with a fractional",
        ),
        ({"vocabulary.initialiser.kind": {"choice": ["mean", "magic"]}}, "Input tag 'magic'"),
        ({"text.tokens": {"choice": [100, 200]}}, "give bytes or tokens"),
        ({"replay": {"uniform": [0.5, 2.0]}}, "less than 1"),
        ({"warmth": {"choice": [1, 2]}}, r"warmth\s+Extra inputs"),
    ],
)
def test_an_axis_that_no_training_can_take_is_refused_with_its_name(space: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        comparison(space=space | RATE, text={"bytes": 2000})
