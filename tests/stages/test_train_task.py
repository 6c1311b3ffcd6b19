"""The stage that trains on a task, in this process: what it publishes, counts and resumes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from descant.adapters import AdaLora, Lora, Method, Pissa, PromptTuning
from descant.artifacts.commit import publish
from descant.artifacts.store import Artifact, Store
from descant.artifacts.tables import write_table
from descant.core.errors import ConfigError
from descant.models.causal import CausalModel, CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.classify import Classifier
from descant.models.trained import load_trained
from descant.stages.base import Stage, StageContext, silent, untracked
from descant.stages.train import losses_of
from descant.stages.train_task import TrainTask
from descant.stages.training.settings import TaskTrainSettings, TrainCompute
from tests.stages.training.toy_tasks import CAUSAL, LABELS, PAIRS, TEXTS, labelled, questions

pa = pytest.importorskip("pyarrow")
HERE = TrainCompute(workers=0)


def prepared(store: Store, model: ClassifierSpec | CausalSpec, name: str = "d" * 12) -> Artifact:
    """What ``prepare_task`` publishes."""
    is_text = isinstance(model, CausalSpec)
    splits = {
        split: questions(count, seed=seed)
        if isinstance(model, CausalSpec)
        else labelled(model, count, seed=seed)
        for seed, (split, count) in enumerate({"train": 24, "validation": 6, "test": 6}.items())
    }
    with store.draft("prepare_task", 1, name, "data", {}, {}) as draft:
        for split, rows in splits.items():
            table = pa.Table.from_pylist(rows)
            publish(
                draft.folder,
                split,
                lambda path, t=table: write_table(t, path),
                rows=len(rows),
                suffix=".parquet",
            )
        facts = {"family": "text"} if is_text else {"family": "classification", "labels": list(LABELS)}
        return draft.finish(splits, facts)


def stage(model: ClassifierSpec | CausalSpec, **values: Any) -> TrainTask:
    usual: dict[str, Any] = {
        "method": Lora(r=4, lora_dropout=0.2),
        "learning_rate": 5e-3,
        "global_batch": 8,
        "num_train_epochs": 4,
        "save_steps": 4,
        "validate_every": 3,
    }
    return TrainTask(model=model, settings=TaskTrainSettings(**(usual | values)))


def made(
    store: Store,
    trained: Stage,
    inputs: Mapping[str, Artifact],
    address: str,
    *,
    compute: Any = HERE,
    metrics: Any = untracked,
) -> Artifact:
    with store.draft(trained.name, 1, address, "train", trained, {}) as draft:
        outcome = trained.run(StageContext(draft, inputs, compute, silent, metrics))
        return draft.finish(outcome.names, outcome.facts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("model", [TEXTS, PAIRS, CAUSAL], ids=["texts", "pairs", "causal"])
def test_training_publishes_a_model_that_loads_with_its_facts(
    model: ClassifierSpec | CausalSpec, store: Store
) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    result = made(
        store,
        stage(model),
        {"data": prepared(store, model)},
        "a" * 12,
        metrics=lambda values, step: seen.append((step, dict(values))),
    )
    facts, folder = result.manifest.facts, result.path("model")
    assert facts["steps"] == len(losses_of(result)) == 12
    assert [step for step, _ in seen] == list(range(1, 13))
    score = "validation_bits_per_byte" if model is CAUSAL else "validation_accuracy"
    assert [step for step, values in seen if score in values] == [3, 6, 9, 12]
    loaded = load_trained(folder)
    base = loaded.backbone if isinstance(loaded, Classifier) else loaded.model
    assert facts["trainable_parameters"] == sum(p.numel() for n, p in base.named_parameters() if "lora_" in n)
    assert facts["head_parameters"] == (32 * 3 + 3 if isinstance(loaded, Classifier) else 0)
    assert facts["adapter_bytes"] == (folder / "adapter" / "adapter_model.safetensors").stat().st_size
    assert facts["tokens_per_second"] > 0
    assert 0 < facts["training_seconds"] < 60
    assert facts["peak_memory_bytes"] > 0
    assert facts["cut_rows"] == 0
    assert isinstance(loaded, CausalModel) == (model is CAUSAL)


def test_published_classifier_gives_the_last_validation_score(store: Store) -> None:
    seen: list[dict[str, float]] = []
    data = prepared(store, TEXTS)
    result = made(
        store,
        stage(TEXTS),
        {"data": data},
        "a" * 12,
        metrics=lambda values, step: seen.append(dict(values)),
    )
    loaded = load_trained(result.path("model"))
    assert isinstance(loaded, Classifier)
    rows = labelled(TEXTS, 6, seed=1)
    logits = loaded.logits([row["text"] for row in rows]).astype(float)
    scores = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), [row["label"] for row in rows]]
    assert seen[-1]["validation_loss"] == pytest.approx(scores.mean(), rel=1e-5)


class Stopped(Exception):
    """Stands for a scheduler, or a kill."""


@pytest.mark.parametrize("model", [TEXTS, CAUSAL], ids=["texts", "causal"])
def test_training_ended_on_the_way_is_resumed_to_the_same_bytes(
    model: ClassifierSpec | CausalSpec, store: Store
) -> None:
    inputs = {"data": prepared(store, model)}
    straight = made(store, stage(model), inputs, "a" * 12)

    def stop(values: Mapping[str, float], step: int) -> None:
        if step == 7:
            raise Stopped

    with pytest.raises(Stopped):
        made(store, stage(model), inputs, "b" * 12, metrics=stop)
    steps: list[int] = []
    again = made(store, stage(model), inputs, "b" * 12, metrics=lambda values, step: steps.append(step))
    assert again.manifest.facts["resumed_at"] == 4
    assert steps == list(range(1, 13))
    assert [loss.hex() for loss in losses_of(again)] == [loss.hex() for loss in losses_of(straight)]
    assert again.part("model").files == straight.part("model").files
    assert again.part("steps").sha256 == straight.part("steps").sha256


@pytest.mark.parametrize("method", [AdaLora(total_step=9), PromptTuning()], ids=["adalora", "prompts"])
def test_method_the_loop_cannot_train_is_refused(method: Method) -> None:
    with pytest.raises(ConfigError, match="it cannot be trained here"):
        stage(TEXTS, method=method).check(HERE)


def test_method_that_splits_the_base_is_refused_in_bf16() -> None:
    model = TEXTS.model_copy(update={"precision": "bf16"})
    with pytest.raises(ConfigError, match="which would be rounded"):
        stage(model, method=Pissa()).check(HERE)


@pytest.mark.parametrize(("model", "data"), [(TEXTS, CAUSAL), (CAUSAL, TEXTS)], ids=["classifier", "causal"])
def test_model_that_does_not_fit_the_task_is_refused(model: Any, data: Any, store: Store) -> None:
    with pytest.raises(ConfigError, match="found a task of family"):
        made(store, stage(model), {"data": prepared(store, data)}, "a" * 12)
