import pytest

from descant.evaluators.multiple_choice import Normalisation, chosen
from descant.models.likelihood import Likelihood

CHOICES = [" ab", " ğğ", " abcdefghij"]
SCORED = [Likelihood(-2.0, 1, 3), Likelihood(-3.0, 3, 5), Likelihood(-8.0, 2, 11)]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("sum", 0),  # -2, -3, -8
        ("byte", 1),  # -2/2, -3/4, -8/10
        ("character", 2),  # -2/2, -3/2, -8/10
        ("token", 1),  # -2/1, -3/3, -8/2
    ],
)
def test_choice_by_hand(by: Normalisation, expected: int) -> None:
    assert chosen(CHOICES, SCORED, by=by) == expected


def test_first_of_equal_choices_is_chosen() -> None:
    assert chosen([" a", " b"], [Likelihood(-1.0, 1, 2)] * 2, by="byte") == 0


def test_empty_choice_has_a_length_of_one() -> None:
    assert chosen(["", " abcd"], [Likelihood(0.0, 0, 0), Likelihood(-1.0, 1, 5)], by="byte") == 0


def test_missing_likelihood_is_refused() -> None:
    with pytest.raises(ValueError, match="2 likelihoods for 3 choices"):
        chosen(CHOICES, SCORED[:2], by="sum")
