"""Scores of new pieces for a Unigram model (arXiv:1804.10959), such that the base's language is cut as before.

A Unigram model takes the cut of a text whose scores have the largest sum; no piece is "before" another. Two things
follow. To take the same number from all old scores, as arXiv:2406.14670's code does, is no shift: it favours cuts of
few pieces, and changes the base's language before there is a new piece. And a new piece is never taken where the base's
own scores for its letters sum up to as much as its own; where they sum up to less, it is taken between any two places
at which the base cuts, in any language.

So old scores stay, and the best new piece lies below the worst old one. Then a text keeps its cut where no stretch of
its old pieces has a sum below the scores of new pieces for that stretch: no single old piece ever gives way, nor do
pairs of frequent ones, while letters that the base spells out in four or five rare pieces do.
"""

import copy
from collections.abc import Mapping, Sequence

from descant.vocab.extend import Description, next_id, refused

STEP = 0.01
"""How far the best new score lies below the worst old one."""


def shifted(described: Description, scores: Mapping[str, float]) -> dict[str, float]:
    """``scores``, which are logarithms, all moved by the same number to lie below those of the base."""
    if not scores:
        return {}
    lowest = min(score for _, score in described["model"]["vocab"])
    shift = lowest - STEP - max(scores.values())
    return {piece: score + shift for piece, score in scores.items()}


def append_scored(described: Description, pieces: Mapping[str, float]) -> Description:
    """A copy with ``pieces`` (piece -> score) behind all ids.

    A Unigram model numbers its pieces by their place, so added tokens behind the model's own get places in it too; they
    are found before the model sees a text. Raises ConfigError where an id between them belongs to none.
    """
    extended = copy.deepcopy(described)
    listed: list[Sequence[str | float]] = extended["model"]["vocab"]
    lowest = min(float(score) for _, score in listed)
    added = {token["id"]: token["content"] for token in extended["added_tokens"]}
    for number in range(len(listed), next_id(extended)):
        if number not in added:
            raise refused(
                f"id {number}", "no token has it, and a Unigram model numbers its pieces by their place"
            )
        listed.append([added[number], lowest])
    listed.extend([piece, score] for piece, score in pieces.items())
    return extended
