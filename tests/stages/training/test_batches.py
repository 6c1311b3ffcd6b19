from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.adapters import Lora
from descant.core.errors import DataError
from descant.stages.training.batches import BatchOrder, keeps_examples
from descant.stages.training.settings import TrainSettings


def order_of(tasks: list[str], **values: int) -> BatchOrder:
    return BatchOrder(tasks, TrainSettings(method=Lora(), learning_rate=1e-3, **values))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=12, max_size=60), st.integers(0, 3), st.integers(0, 4))
def test_epoch_any_tasks_has_every_row_at_most_once_and_one_task_a_batch(
    tasks: list[str], seed: int, epoch: int
) -> None:
    batches = order_of(tasks, global_batch=4, seed=seed).epoch(epoch)
    assert max(Counter(batches.ravel().tolist()).values()) == 1
    assert all(len({tasks[row] for row in batch}) == 1 for batch in batches)
    sizes = Counter(tasks)
    assert len(batches) == sum(count // 4 for count in sizes.values())


def test_step_is_a_function_of_seed_and_number_alone() -> None:
    tasks = ["a"] * 20 + ["b"] * 12
    first, again = (order_of(tasks, global_batch=8, contrast_batch=4, num_train_epochs=3) for _ in range(2))
    assert np.array_equal(first.step(7), again.step(7))
    assert first.step(7).shape == (2, 4)
    other = order_of(tasks, global_batch=8, contrast_batch=4, num_train_epochs=3, seed=1)
    assert not np.array_equal(first.step(7), other.step(7))


def test_epochs_differ_in_order_and_in_partners() -> None:
    order = order_of(["a"] * 32, global_batch=8, num_train_epochs=2)
    partners = [{frozenset(batch) for batch in order.epoch(epoch).tolist()} for epoch in (0, 1)]
    assert partners[0] != partners[1]
    assert np.array_equal(order.step(4), order.epoch(1)[:1])


@pytest.mark.parametrize(("values", "steps"), [({}, 4), ({"num_train_epochs": 3}, 12), ({"max_steps": 3}, 3)])
def test_number_of_steps_counts_whole_global_batches(values: dict[str, int], steps: int) -> None:
    # 21 and 14 rows make 5 and 3 contrast batches of 4; two of them a step
    assert order_of(["a"] * 21 + ["b"] * 14, global_batch=8, contrast_batch=4, **values).num_steps == steps


def test_rows_that_fill_no_step_are_refused_with_their_counts() -> None:
    with pytest.raises(DataError, match=r"5 training rows \(a: 3, b: 2\).*give 0 contrast batches of 4"):
        _ = order_of(["a", "b", "a", "b", "a"], global_batch=4).num_steps


def test_share_with_examples_is_met_and_a_row_keeps_its_choice() -> None:
    chosen = TrainSettings(method=Lora(), learning_rate=1e-3, global_batch=4, share_with_examples=0.7)
    ids = [f"row-{i}" for i in range(4000)]
    kept = [keeps_examples(row, chosen) for row in ids]
    assert abs(np.mean(kept) - 0.7) < 0.022  # three standard deviations
    assert kept == [keeps_examples(row, chosen) for row in ids]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_with_examples_at_its_ends_is_all_or_none(share: float) -> None:
    chosen = TrainSettings(method=Lora(), learning_rate=1e-3, global_batch=4, share_with_examples=share)
    assert {keeps_examples(f"row-{i}", chosen) for i in range(200)} == {share == 1.0}
