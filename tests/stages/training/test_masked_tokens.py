"""Filling in masked tokens: what is hidden, what is scored, and that training learns it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM

from descant.adapters import Full
from descant.core.errors import ConfigError
from descant.models.load import load_masked_model, load_tokenizer
from descant.models.masked import MaskedSpec, Masking
from descant.stages.corpora import BASE_LANGUAGE, LANGUAGE
from descant.stages.training.loop import Trainer
from descant.stages.training.masked_tokens import MaskedTokens, MaskedTraining
from descant.stages.training.settings import TextTrainSettings, TrainCompute
from tests.stages.toy_encoder import shared_encoder
from tests.stages.training.toy import figures, run, started, write_rows

TEXTS = (
    "water is the energy of plants and animals",
    "light and heat are in the air",
    "why does the sun light the earth when plants can change the water of the rock",
    "a question about cells",
)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"row {i:02d}", "corpus": LANGUAGE if i % 3 else BASE_LANGUAGE, "text": TEXTS[i % len(TEXTS)]}
        for i in range(count)
    ]


def training(
    folder: Path,
    *,
    given: list[dict[str, Any]] | None = None,
    compute: TrainCompute | None = None,
    share: float = 0.3,
    max_tokens: int = 16,
    **settings: Any,
) -> MaskedTraining:
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "method": {"kind": "full"},
        "learning_rate": 3e-3,
        "global_batch": 6,
        "num_train_epochs": 20,
        "max_steps": 6,
        "adam_epsilon": 1e-3,
    }
    return MaskedTraining(
        rows=write_rows(folder / "rows.parquet", given or rows(24)),
        validation=write_rows(folder / "validation.parquet", rows(6)),
        masked=MaskedSpec(model=shared_encoder(), masking=Masking(max_tokens=max_tokens, mask_share=share)),
        settings=TextTrainSettings.model_validate(values | settings),
        compute=compute or TrainCompute(workers=0),
        folder=folder,
    )


@pytest.fixture
def objective(tmp_path: Path) -> MaskedTokens:
    made: MaskedTokens = started(training(tmp_path)).objective
    return made


def test_windows_are_the_text_between_its_ends_with_some_tokens_hidden(objective: MaskedTokens) -> None:
    tokenizer = load_tokenizer(shared_encoder())
    windows = objective.units(rows(4))
    longest = objective.masked.masking.max_tokens - 2
    for record in rows(4):
        mine = [window for window in windows if window.id == record["id"]]
        restored = []
        for window in mine:
            ids = list(window.ids)
            assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
            assert 0 not in window.places
            assert len(ids) - 1 not in window.places
            assert len(window.places) == max(1, round(0.3 * (len(ids) - 2)))
            for place, target in zip(window.places, window.targets, strict=True):
                ids[place] = target
            restored += ids[1:-1]
        expected = tokenizer(record["text"], add_special_tokens=False)["input_ids"]
        assert restored == expected
        assert len(mine) == -(-len(expected) // longest)


def test_of_the_chosen_eight_tenths_are_masked_and_one_tenth_replaced(tmp_path: Path) -> None:
    many = [{"id": f"row {i}", "corpus": LANGUAGE, "text": "energy " * 60} for i in range(100)]
    objective: Any = started(training(tmp_path, given=many, max_tokens=128, share=0.5)).objective
    mask = objective.tokenizer.mask_token_id
    kinds: Counter[str] = Counter()
    others: set[int] = set()
    for window in objective.units(many):
        for place, target in zip(window.places, window.targets, strict=True):
            found = window.ids[place]
            kinds["masked" if found == mask else "kept" if found == target else "replaced"] += 1
            others.add(found)
    total = kinds.total()
    assert total == 100 * 30
    assert kinds["masked"] / total == pytest.approx(0.8, abs=0.03)
    assert kinds["replaced"] / total == pytest.approx(0.1, abs=0.02)
    assert not (others - {mask}) & set(objective.tokenizer.all_special_ids)


def test_other_tokens_are_hidden_each_time_and_the_same_ones_for_the_same_step(
    objective: MaskedTokens,
) -> None:
    def hidden(step: int) -> dict[str, list[int]]:
        return {window.id: window.places for part in objective.micro_batches(step) for window in part.units}

    first = hidden(0)
    assert first == hidden(0)
    epoch = len(objective.records) // objective.settings.global_batch
    later = [hidden(step) for step in range(epoch, 3 * epoch)]
    seen = [places for step in later for row, places in step.items() if row in first]
    assert any(places not in first.values() for places in seen)
    assert objective.units(rows(4)) == objective.units(rows(4))


def test_loss_is_that_of_the_model_with_all_logits_and_labels(objective: MaskedTokens) -> None:
    windows = objective.units(rows(4))
    found = objective.forward(_called(objective), windows)
    whole, tokenizer = load_masked_model(shared_encoder(), seed=0)
    expected = 0.0
    for window in windows:  # one at a time, so without padding
        with torch.no_grad():
            logits = whole(input_ids=torch.tensor([window.ids])).logits[0]
        labels = torch.full((len(window.ids),), -100)
        labels[window.places] = torch.tensor(window.targets)
        expected += float(cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
    assert float(found.loss_sum.detach()) == pytest.approx(expected, rel=1e-5)
    assert found.tokens == sum(len(window.ids) for window in windows)
    assert tokenizer.mask_token_id is not None


class _Called:
    """The module in the place of an engine."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, self.device = module, torch.device("cpu")

    def __call__(self, *arguments: Any) -> Any:
        return self.module(*arguments)


def _called(objective: MaskedTokens) -> _Called:
    return _Called(objective.module.eval())


def test_training_lowers_the_loss_of_both_corpora(tmp_path: Path) -> None:
    trainer = started(
        training(tmp_path, max_steps=60, num_train_epochs=60, warmup_ratio=0.0, adam_epsilon=1e-8)
    )
    before = trainer.validate()
    run(trainer, 60)
    after = trainer.validate()
    assert before.keys() == {"loss_language", "loss_base_language"}
    for name, loss in after.items():
        assert loss < 0.7 * before[name]


def test_resumed_training_repeats_its_steps_to_the_last_bit(tmp_path: Path) -> None:
    task = training(tmp_path, max_steps=8)
    trainer = started(task)
    run(trainer, 3)
    trainer.save()
    undisturbed = figures(run(trainer, 5))
    again = Trainer(task)
    again.resume()
    assert again.position == 3
    assert figures(run(again, 5)) == undisturbed


def test_head_that_a_checkpoint_lacks_is_drawn_with_the_seed() -> None:
    def head(seed: int) -> torch.Tensor:
        model: Any = load_masked_model(shared_encoder(), seed=seed)[0]
        weight: torch.Tensor = model.cls.predictions.transform.dense.weight
        return weight.detach()

    state = torch.random.get_rng_state()
    one, same, other = head(1), head(1), head(2)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())
    plain = AutoModelForMaskedLM.from_pretrained(shared_encoder().path)
    found: Any = load_masked_model(shared_encoder(), seed=1)[0]
    assert torch.equal(plain.bert.embeddings.word_embeddings.weight, found.get_input_embeddings().weight)
    assert found.get_output_embeddings().weight is found.get_input_embeddings().weight


def test_tokenizer_without_a_mask_is_refused() -> None:
    from descant.artifacts.models import TinyModel

    with pytest.raises(ConfigError, match="has no mask_token"):
        load_masked_model(TinyModel(), seed=0)


def test_embeddings_may_go_first_and_faster(tmp_path: Path) -> None:
    task = training(tmp_path, embeddings_first=0.5, embeddings_learning_rate=1e-2)
    trainer = started(task)
    model: Any = trainer.objective.module.model
    inner = model.bert.encoder.layer[0].attention.self.query.weight
    rows_before, inner_before = model.get_input_embeddings().weight.clone(), inner.clone()
    run(trainer, 3)
    assert torch.equal(inner, inner_before)
    assert not torch.equal(model.get_input_embeddings().weight, rows_before)
    run(trainer, 1)
    assert not torch.equal(inner, inner_before)
    assert isinstance(task.settings.method, Full)


def test_windows_longer_than_the_model_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"masking.max_tokens to 1024"):
        training(tmp_path, max_tokens=2000).objective()


def test_text_without_tokens_adds_nothing(objective: MaskedTokens) -> None:
    empty = {"id": "empty", "corpus": LANGUAGE, "text": ""}
    (window,) = objective.units([empty])
    assert (window.places, window.targets) == ([], [])
    both = objective.units([empty, *rows(2)])
    engine = _called(objective)
    with_it, without = (
        float(objective.forward(engine, units).loss_sum.detach()) for units in (both, both[1:])
    )
    assert with_it == pytest.approx(without, rel=1e-6)


def test_micro_batches_hold_as_many_windows_as_fit(tmp_path: Path) -> None:
    long = [{"id": f"row {i}", "corpus": LANGUAGE, "text": "energy " * 200} for i in range(6)]
    made: Any = started(
        training(tmp_path, given=long, compute=TrainCompute(workers=0, max_micro_batch=64))
    ).objective
    parts = made.micro_batches(0)
    num_windows = sum(len(part.units) for part in parts)
    assert num_windows == 6 * -(-200 // 14)
    assert len(parts) == -(-num_windows // 64)
