"""Pieces as SentencePiece's byte-pair models make them: any two neighbours whose text is one join, the best first.

Such a tokenizer has scores and no merges. But inside the letters that become a piece nothing else is joined first,
whatever stands around them, so each piece is made of the same two parts wherever it is made. Hence one merge says all
that a score does; a piece that is not made of its own letters is made of no others; and taking away a piece that no
other is made of changes none of the rest.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from descant.vocab.merges import Merge, Word


def joins(word: Word, rank: Mapping[str, int]) -> list[tuple[str, str]]:
    """The pairs of ``word`` that are joined, one after the other: the lowest rank first, of equal ones the leftmost."""
    parts = list(word)
    made: list[tuple[str, str]] = []
    while True:
        found = min(
            (
                (rank[parts[i] + parts[i + 1]], i)
                for i in range(len(parts) - 1)
                if parts[i] + parts[i + 1] in rank
            ),
            default=None,
        )
        if found is None:
            return made
        i = found[1]
        made.append((parts[i], parts[i + 1]))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def reachable(pieces: Mapping[str, Word]) -> list[Merge]:
    """The merges that make ``pieces``, in their order, of what the base cuts each into; those never made are left out.

    A part may come later than what is made of it: it is then joined as soon as it is there.
    """
    rank = {piece: number for number, piece in enumerate(pieces)}
    merges = []
    for piece, word in pieces.items():
        made = joins(word, rank)
        if made and "".join(made[-1]) == piece and len(made) == len(word) - 1:
            merges.append(Merge(*made[-1], gain=0, side_effect=0))
    return merges


def join_counts(merges: Iterable[Merge], words: Mapping[Word, int]) -> list[int]:
    """How often each is made in ``words`` (as the base cuts them -> count), all of them there: tokens saved."""
    pieces = [merge.piece for merge in merges]
    rank = {piece: number for number, piece in enumerate(pieces)}
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for left, right in joins(word, rank):
            counts[left + right] += count
    return [counts[piece] for piece in pieces]
