"""Multiple choice by likelihood: the continuation with the highest log-likelihood is chosen, normalised or not."""

from collections.abc import Sequence
from typing import Literal

from descant.models.likelihood import Likelihood

Normalisation = Literal["sum", "byte", "character", "token"]
"""What a log-likelihood is divided by: nothing, or the length of the choice. The space that joins a choice to its
prompt does not count towards bytes and characters; lm-eval's ``acc`` is ``sum``, its ``acc_norm`` ``character``."""


def chosen(choices: Sequence[str], scored: Sequence[Likelihood], *, by: Normalisation) -> int:
    """The number of the likeliest choice, of equal ones the first.

    Raises ValueError where there are no choices, or not one likelihood for each.
    """
    if not choices or len(choices) != len(scored):
        raise ValueError(f"{len(scored)} likelihoods for {len(choices)} choices")
    values = [
        one.log_likelihood / _length(choice, one, by) for choice, one in zip(choices, scored, strict=True)
    ]
    return max(range(len(values)), key=lambda i: values[i])


def _length(choice: str, scored: Likelihood, by: Normalisation) -> int:
    text = choice.removeprefix(" ")
    lengths = {"sum": 1, "byte": len(text.encode()), "character": len(text), "token": scored.tokens}
    return max(1, lengths[by])
