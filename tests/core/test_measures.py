"""Measures are read in every spelling of the field and written in one."""

import pytest

from descant.core.measures import Measure, measure


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndcg_at_10", Measure("ndcg", 10)),
        ("ndcg_cut_10", Measure("ndcg", 10)),
        ("nDCG@10", Measure("ndcg", 10)),
        ("cosine_ndcg@10", Measure("ndcg", 10)),
        ("recall_at_100", Measure("recall", 100)),
        ("recall_100", Measure("recall", 100)),
        ("R@5", Measure("recall", 5)),
        ("RR@10", Measure("mrr", 10)),
        ("mrr@10", Measure("mrr", 10)),
        ("P_5", Measure("precision", 5)),
    ],
)
def test_measure_reads_the_spellings_of_the_field(name: str, expected: Measure) -> None:
    assert measure(name) == expected
    assert measure(str(expected)) == expected


@pytest.mark.parametrize("name", ["ndcg", "ndcg_at_0", "bleu_at_4", "", "ndcg_at_ten"])
def test_measure_refuses_other_names_and_lists_the_known(name: str) -> None:
    with pytest.raises(ValueError, match="ndcg_at_K"):
        measure(name)
