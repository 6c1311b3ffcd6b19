"""What is counted of generated texts."""

from descant.models.generate import Generated
from descant.stages.generation import generation_counts, generation_facts

ANSWERS = [
    Generated("né", 3, (5, 40), is_finished=True, is_cut=False),
    Generated("a", 2, (1, 41), is_finished=True, is_cut=False),
]


def test_special_tokens_are_neither_new_nor_old() -> None:
    counts = generation_counts(ANSWERS, seconds=2.0, special_ids={1}, first_new=40)
    assert (counts["new_tokens"], counts["plain_tokens"]) == (2, 3)


def test_new_is_what_the_named_base_did_not_have() -> None:
    counts = generation_counts(ANSWERS, seconds=2.0, special_ids=(), first_new=41)
    assert (counts["new_tokens"], counts["plain_tokens"]) == (1, 4)
    assert "new_tokens" not in generation_counts(ANSWERS, seconds=2.0, special_ids=(), first_new=None)


def test_rates_are_over_the_seconds_of_generating_all_parts() -> None:
    part = generation_counts(ANSWERS, seconds=2.0, special_ids={1}, first_new=41)
    other = generation_counts(ANSWERS[:1], seconds=0.5, special_ids={1}, first_new=41)
    assert generation_facts([{**part, "seconds": 9.0, "cut": 0}, {**other, "seconds": 9.0, "cut": 0}]) == {
        "generated_tokens": 8,
        "generated_bytes": 7,
        "tokens_per_second": 3.2,
        "bytes_per_second": 2.8,
        "examples_per_second": 1.2,
        "new_token_share": 0.2,
    }


def test_nothing_generated_is_no_fact() -> None:
    assert generation_facts([{"seconds": 1.0, "cut": 0}]) == {}
