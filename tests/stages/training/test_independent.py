"""Classifiers and language models in the loop: slow versions of their losses, and what must not change them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.adapters import Eva, Full, Lora
from descant.core.errors import ConfigError, DataError, NumericsError
from descant.models.causal import load_causal
from descant.models.classify import load_classifier
from descant.stages.training.classification import Classification
from descant.stages.training.engine import full_state
from descant.stages.training.independent import deal
from descant.stages.training.loop import Trainer
from descant.stages.training.next_token import NextToken
from descant.stages.training.objective import Training
from descant.stages.training.packing import check_kept_apart, pack
from descant.stages.training.settings import TrainCompute
from descant.stages.training.step_log import StepReport, read_steps
from descant.stages.training.train import run_training
from descant.stages.training.workplace import STEPS
from tests.stages.training import two_workers
from tests.stages.training.toy import figures, run, started
from tests.stages.training.toy_tasks import (
    CAUSAL,
    IMAGES,
    PAIRS,
    TEXTS,
    classifier,
    labelled,
    language_model,
    method_with_dropout,
    packed,
    questions,
)

Make = Callable[..., Training]
MAKERS: dict[str, Make] = {
    "texts": lambda folder, **values: classifier(folder, TEXTS, **values),
    "pairs": lambda folder, **values: classifier(folder, PAIRS, **values),
    "images": lambda folder, **values: classifier(folder, IMAGES, **values),
    "causal": language_model,
}


def ended(training: Training, steps: int = 4) -> dict[str, Any]:
    """Losses, gradient norms and final weights of a few steps."""
    trainer = started(training) if not torch.distributed.is_initialized() else Trainer(training)
    reports = run(trainer, steps)
    return {
        "losses": [r.loss for r in reports],
        "norms": [r.grad_norm for r in reports],
        "tokens": [r.tokens for r in reports],
        "weights": {name: t.flatten().tolist() for name, t in full_state(trainer.engine).items()},
    }


def distance(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest relative difference of losses, gradient norms and weights."""
    flat = [np.concatenate([np.array(v) for v in r["weights"].values()]) for r in (found, expected)]
    pairs = [
        (np.array(found["losses"]), np.array(expected["losses"])),
        (np.array(found["norms"]), np.array(expected["norms"])),
        (flat[0], flat[1]),
    ]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def micro(size: int, **values: Any) -> TrainCompute:
    return TrainCompute(max_micro_batch=size, **({"workers": 0} | values))


def test_classification_loss_is_the_mean_cross_entropy_of_the_rows_of_the_step(tmp_path: Path) -> None:
    training = classifier(tmp_path, compute=micro(3))
    trainer = started(training)
    assert isinstance(trainer.objective, Classification)
    rows = [labelled(TEXTS, 24)[i] for i in trainer.objective.order.step(0).ravel()]
    logits = load_classifier(TEXTS, 3, seed=training.settings.seed).logits([row["text"] for row in rows])
    expected = [
        math.log(np.exp(row_logits.astype(float)).sum()) - float(row_logits[row["label"]])
        for row, row_logits in zip(rows, logits, strict=True)
    ]
    assert trainer.step().loss == pytest.approx(sum(expected) / 8, rel=1e-6)


def response_losses(rows: list[dict[str, Any]]) -> tuple[float, int]:
    """The slow way: every row alone, every response token by its log-probability, end-of-text included."""
    model = load_causal(CAUSAL)
    loss, tokens = 0.0, 0
    for row in rows:
        pair = model.encode_pair(row["prompt"], row["response"], end=True)
        with torch.no_grad():
            logits = model.model(input_ids=torch.tensor([pair.ids])).logits[0].double()
        for place in range(pair.num_prompt, len(pair.ids)):
            loss -= float(torch.log_softmax(logits[place - 1], dim=0)[pair.ids[place]])
            tokens += 1
    return loss, tokens


@pytest.mark.parametrize("compute", [micro(64), micro(3), packed()], ids=["whole", "micro", "packed"])
def test_language_model_loss_is_the_mean_over_the_response_tokens_of_the_step(
    compute: TrainCompute, tmp_path: Path
) -> None:
    trainer = started(language_model(tmp_path, compute=compute))
    assert isinstance(trainer.objective, NextToken)
    loss, tokens = response_losses([questions(24)[i] for i in trainer.objective.order.step(0).ravel()])
    assert trainer.step().loss == pytest.approx(loss / tokens, rel=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_micro_batches_do_not_change_numbers(name: str, tmp_path: Path) -> None:
    found = {size: ended(MAKERS[name](tmp_path / str(size), compute=micro(size))) for size in (1, 3, 4)}
    assert distance(found[1], found[4]) < 1e-6
    assert distance(found[3], found[4]) < 1e-6
    assert found[1]["tokens"] == found[3]["tokens"] == found[4]["tokens"]


def test_packed_rows_give_the_losses_and_gradients_of_rows_apart(tmp_path: Path) -> None:
    sgd: dict[str, Any] = {"warmup_ratio": 0.0, "adam_epsilon": 1e3, "learning_rate": 1e3}
    apart, together = (
        ended(language_model(tmp_path / name, compute=compute, **sgd))
        for name, compute in (("apart", micro(4)), ("packed", packed()))
    )
    assert distance(together, apart) < 1e-5
    assert together["tokens"] == apart["tokens"]


def test_packed_rows_take_fewer_sequences(tmp_path: Path) -> None:
    objective = started(language_model(tmp_path, compute=packed())).objective
    assert isinstance(objective, NextToken)
    units = objective.units(questions(24))
    assert sorted(document.id for unit in units for document in unit) == [f"row-{i:03d}" for i in range(24)]
    assert len(units) < 12
    assert max(map(objective.size, units)) <= CAUSAL.max_tokens


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10), max_size=30))
def test_pack_puts_everything_into_bins_that_hold_it(lengths: list[int]) -> None:
    bins = pack(list(range(len(lengths))), lengths, 10)
    assert sorted(i for found in bins for i in found) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in found) <= 10 for found in bins)


class SeesAll(torch.nn.Module):
    """A model that ignores positions: every token sees all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(8, 4)

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None) -> Any:
        class Output:
            logits = self.embed(input_ids).cumsum(1)

        return Output


def test_architecture_in_which_packed_rows_see_each_other_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SeesAll: rows that are packed .* see each other"):
        check_kept_apart(SeesAll())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6))
def test_deal_gives_every_unit_to_one_worker_and_all_equally_many_parts(
    num: int, workers: int, most: int
) -> None:
    dealt = [deal(range(num), rank, workers, most=most) for rank in range(workers)]
    assert sorted(u for parts in dealt for part in parts for u in part) == list(range(num))
    assert len({len(parts) for parts in dealt}) == 1
    assert max(len(part) for parts in dealt for part in parts) <= most


@pytest.mark.parametrize("name", ["texts", "causal"])
def test_validation_does_not_change_the_training(name: str, tmp_path: Path) -> None:
    still: dict[str, Any] = {"method": method_with_dropout(), "base_dropout": True}
    reports: dict[int | None, list[StepReport]] = {}
    for every in (None, 2):
        reports[every] = []
        training = MAKERS[name](tmp_path / str(every), validate_every=every, **still)
        run_training(training, reports[every].append)
    assert figures(reports[2]) == figures(reports[None])
    assert [bool(r.validation) for r in reports[2]] == [False, True] * 3
    assert read_steps(tmp_path / "2" / STEPS) == reports[2]


def test_validation_of_a_classifier_is_its_accuracy_and_loss(tmp_path: Path) -> None:
    training = classifier(tmp_path, validate_every=1, compute=micro(2))
    trainer = started(training)
    trainer.step()
    scores = trainer.validate()
    rows = labelled(TEXTS, 7, seed=1)
    assert isinstance(trainer.objective, Classification)
    logits = trainer.objective.module.logits([row["text"] for row in rows])
    labels = [row["label"] for row in rows]
    assert scores["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == labels))
    losses = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert scores["loss"] == pytest.approx(float(losses), rel=1e-6)


@pytest.mark.parametrize("compute", [micro(2), packed()], ids=["apart", "packed"])
def test_validation_of_a_language_model_is_bits_per_byte_and_accuracy_by_likelihood(
    compute: TrainCompute, tmp_path: Path
) -> None:
    trainer = started(language_model(tmp_path, validate_every=1, compute=compute))
    model, right, nats = load_causal(CAUSAL), 0, 0.0
    rows = questions(7, seed=1)
    for row in rows:
        found = []
        for choice in row["choices"]:
            pair = model.encode_pair(row["prompt"], choice)
            with torch.no_grad():
                logits = model.model(input_ids=torch.tensor([pair.ids])).logits[0].double()
            scores = torch.log_softmax(logits, dim=1)
            found.append(
                sum(float(scores[t - 1, pair.ids[t]]) for t in range(pair.num_prompt, len(pair.ids)))
            )
        right += int(np.argmax(found) == row["gold"])
        nats -= found[row["gold"]]
    scores_found = trainer.validate()
    num_bytes = sum(len(row["response"].encode()) for row in rows)
    assert scores_found["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-6)
    assert scores_found["accuracy"] == pytest.approx(right / 7)


def test_head_has_a_learning_rate_of_its_own(tmp_path: Path) -> None:
    rates: dict[str, Any] = {"learning_rate": 1e-4, "head_learning_rate": 1e-2, "adam_epsilon": 1e-12}
    trainer = started(classifier(tmp_path, warmup_ratio=0.0, **rates))
    before = {n: p.detach().clone() for n, p in trainer.objective.module.named_parameters()}
    assert trainer.step().learning_rate == 1e-4
    moved = {n: float((p - before[n]).abs().max()) for n, p in trainer.objective.module.named_parameters()}
    # Adam's first step is as long as the learning rate
    assert moved["head.weight"] == pytest.approx(1e-2, rel=1e-3)
    assert max(v for n, v in moved.items() if "lora" in n) == pytest.approx(1e-4, rel=1e-3)


def test_rows_that_are_too_long_keep_their_response_and_are_counted(tmp_path: Path) -> None:
    rows = questions(24)
    for row in rows[::2]:
        row["prompt"] = "water " * 300 + row["prompt"]
    trainer = started(language_model(tmp_path, rows=rows))
    assert isinstance(trainer.objective, NextToken)
    for row in rows:
        [document] = trainer.objective.units([row])[0]
        expected = trainer.objective.causal.encode_pair("x", row["response"], end=True)
        size = expected.num_continuation
        assert document.pair.ids[-size:] == expected.ids[-size:]
        assert document.pair.num_continuation == size
    chosen = trainer.objective.order.step(0).ravel()
    assert trainer.step().cut_rows == sum(i % 2 == 0 for i in chosen)


def test_fewer_rows_than_a_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"24 training rows: a step needs 32\. .* Lower global_batch"):
        run_training(classifier(tmp_path, global_batch=32), lambda report: None)


def test_label_that_is_none_of_the_task_is_refused_by_row(tmp_path: Path) -> None:
    training = classifier(tmp_path)
    two = type(training)(**{**vars(training), "num_labels": 2})
    with pytest.raises(DataError, match=r"row 'row-002': has label 2, there are 2"):
        run_training(two, lambda report: None)


def test_method_that_starts_from_texts_is_refused_for_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method eva: it starts from example texts"):
        run_training(classifier(tmp_path, IMAGES, method=Eva(r=2)), lambda report: None)


@pytest.mark.parametrize("name", ["texts", "causal"])
def test_method_that_starts_from_data_is_trained(name: str, tmp_path: Path) -> None:
    assert np.isfinite(ended(MAKERS[name](tmp_path, method=Eva(r=2)), 2)["losses"]).all()


@pytest.mark.parametrize(("name", "what"), [("texts", "logits"), ("causal", "losses")])
def test_row_that_is_not_finite_is_named(name: str, what: str, tmp_path: Path) -> None:
    trainer = started(MAKERS[name](tmp_path))
    objective: Any = trainer.objective
    base = objective.module.backbone if name == "texts" else objective.module
    reader = objective.module.reader if name == "texts" else objective.causal.tokenizer
    rows = [objective.records[i] for i in objective.order.step(0).ravel()]
    token = reader.convert_tokens_to_ids("Ġplant")
    poisoned = sorted(r["id"] for r in rows if " plant" in (r.get("text") or r["prompt"] + r["response"]))
    assert poisoned
    with torch.no_grad():
        base.get_input_embeddings().weight[token] = float("nan")
    with pytest.raises(NumericsError, match=f"the {what} of these rows are not finite") as caught:
        trainer.step()
    named = str(caught.value).split("rank 0: ")[1].split(".")[0].split(", ")
    assert sorted(named) == poisoned


def sharded(zero: int, **values: Any) -> TrainCompute:
    return TrainCompute(**({"workers": 2, "zero": zero, "max_micro_batch": 2} | values))


SCENARIOS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "texts": lambda folder: ended(classifier(folder, compute=sharded(0))),
    "pairs": lambda folder: ended(classifier(folder, PAIRS, compute=sharded(0, max_micro_batch=3))),
    "causal": lambda folder: ended(language_model(folder, compute=sharded(0))),
    "causal-packed": lambda folder: ended(language_model(folder, compute=sharded(0, packed=True))),
    "causal-full": lambda folder: ended(language_model(folder, method=Full(), compute=sharded(0))),
    "texts-zero-1": lambda folder: ended(classifier(folder, compute=sharded(1))),
    "texts-zero-2": lambda folder: ended(classifier(folder, compute=sharded(2))),
    "texts-zero-3": lambda folder: ended(classifier(folder, compute=sharded(3))),
    "causal-packed-zero-1": lambda folder: ended(language_model(folder, compute=sharded(1, packed=True))),
    "causal-packed-zero-2": lambda folder: ended(language_model(folder, compute=sharded(2, packed=True))),
    "causal-packed-zero-3": lambda folder: ended(language_model(folder, compute=sharded(3, packed=True))),
    "validated-zero-3": lambda folder: validated(language_model(folder, compute=sharded(3, packed=True))),
    "validated-classifier": lambda folder: validated(classifier(folder, compute=sharded(0))),
}


def validated(training: Training) -> dict[str, Any]:
    trainer = Trainer(training)
    run(trainer, 2)
    return dict(trainer.validate())


def work_all(rank: int, folder: Path) -> None:
    two_workers.join(rank, folder)
    results = {name: scenario(folder / name) for name, scenario in SCENARIOS.items()}
    if rank == 0:
        (folder / "results.json").write_text(json.dumps(results))
    two_workers.leave()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two-workers")
    mp.spawn(work_all, (folder,), nprocs=2)
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("name", [name for name in SCENARIOS if not name.startswith("validated")])
def test_two_workers_train_as_one_does(name: str, results: dict[str, Any], tmp_path: Path) -> None:
    kind = name.partition("-")[0]
    method = {"method": Full()} if "full" in name else {}
    alone = ended(MAKERS[kind](tmp_path, **method))
    assert distance(results[name], alone) < 1e-6
    assert results[name]["tokens"] == alone["tokens"]


@pytest.mark.parametrize(
    ("name", "kind"), [("validated-zero-3", "causal"), ("validated-classifier", "texts")]
)
def test_two_workers_validate_as_one_does(
    name: str, kind: str, results: dict[str, Any], tmp_path: Path
) -> None:
    trainer = started(MAKERS[kind](tmp_path))
    run(trainer, 2)
    assert results[name] == pytest.approx(dict(trainer.validate()), rel=1e-5)


@pytest.mark.parametrize("name", ["texts", "images", "causal"])
def test_bf16_follows_fp32_within_its_precision(name: str, tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        training = MAKERS[name](tmp_path / precision)
        field = "causal" if name == "causal" else "classifier"
        spec = getattr(training, field).model_copy(update={"precision": precision})
        losses[precision] = ended(type(training)(**{**vars(training), field: spec}))["losses"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=2e-2)
    assert losses["bf16"] != losses["fp32"]


def test_full_training_counts_the_head_apart(tmp_path: Path) -> None:
    outcome = run_training(
        classifier(tmp_path, method=Lora(r=2), max_steps=2, warmup_ratio=0.0), lambda report: None
    )
    assert outcome.head_parameters == 32 * 3 + 3
    spec = load_classifier(TEXTS, 3)
    assert outcome.trainable_parameters - outcome.head_parameters == Lora(r=2).num_parameters(spec.backbone)
