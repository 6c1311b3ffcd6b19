import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descant.data.prompts import PromptedText
from descant.models.tiny import tiny_tokenizer
from descant.models.tokens import TokenRow, batches, padded, token_rows

BERT, LLAMA = tiny_tokenizer("bert"), tiny_tokenizer("llama")


def test_row_of_a_whole_text_pools_special_tokens_too() -> None:
    (row,) = token_rows(BERT, [PromptedText("the sun", 0)], max_tokens=9, pooling="mean")
    assert BERT.convert_ids_to_tokens(row.ids) == ["[CLS]", "the", "sun", "[SEP]"]
    assert (row.first, row.last) == (0, 4)


def test_row_with_a_context_pools_the_target_s_tokens_only() -> None:
    text = PromptedText("the sun is water", len("the sun "))
    (row,) = token_rows(BERT, [text], max_tokens=9, pooling="mean")
    assert BERT.convert_ids_to_tokens(row.ids)[row.first : row.last] == ["is", "water"]


def test_row_pools_a_token_that_straddles_the_border() -> None:
    (row,) = token_rows(LLAMA, [PromptedText("the sun", len("the "))], max_tokens=9, pooling="mean")
    assert LLAMA.convert_ids_to_tokens(row.ids)[row.first : row.last] == ["Ġsun"]


@pytest.mark.parametrize("max_tokens", [8, 3])
def test_row_for_eos_pooling_ends_in_one_end_of_text_token(max_tokens: int) -> None:
    rows = token_rows(
        LLAMA,
        [PromptedText(" the sun is water", 0), PromptedText(" sun</s>", 0)],
        max_tokens=max_tokens,
        pooling="eos",
    )
    for row in rows:
        assert len(row.ids) <= max_tokens
        assert [i for i, token in enumerate(row.ids) if token == LLAMA.eos_token_id] == [len(row.ids) - 1]


def test_row_whose_target_was_cut_away_pools_nothing() -> None:
    (row,) = token_rows(BERT, [PromptedText("the sun is water", 11)], max_tokens=4, pooling="mean")
    assert (row.first, row.last) == (0, 0)


@pytest.mark.parametrize(("max_tokens", "is_cut"), [(5, True), (6, False), (7, False)])
def test_row_knows_whether_its_text_was_cut(max_tokens: int, is_cut: bool) -> None:
    (row,) = token_rows(BERT, [PromptedText("the sun is water", 0)], max_tokens=max_tokens, pooling="mean")
    assert row.is_cut is is_cut


def test_no_texts_give_no_rows() -> None:
    assert token_rows(BERT, [], max_tokens=4, pooling="mean") == []


def test_padded_batch_of_two_rows_is_the_hand_made_one() -> None:
    batch = padded([TokenRow([7, 8, 9], 1, 3), TokenRow([5], 0, 1)], pad_id=0)
    assert batch["input_ids"].tolist() == [[7, 8, 9], [5, 0, 0]]
    assert batch["attention_mask"].tolist() == [[True, True, True], [True, False, False]]
    assert batch["pool_mask"].tolist() == [[False, True, True], [True, False, False]]
    assert batch["input_ids"].dtype == torch.int64


@given(lengths=st.lists(st.integers(1, 40), max_size=30), tokens_per_batch=st.integers(1, 100))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], tokens_per_batch: int) -> None:
    rows = [TokenRow([1] * length, 0, length) for length in lengths]
    found = list(batches(rows, tokens_per_batch=tokens_per_batch))
    assert sorted(np.concatenate([*found, []]).tolist()) == list(range(len(rows)))
    for chosen in found:
        longest = max(lengths[i] for i in chosen)
        assert len(chosen) == 1 or longest * len(chosen) <= tokens_per_batch
