"""Byte-pair merges learned where a tokenizer stops: on words as it has cut them (arXiv:1508.07909, continued).

The tokenizer applies its own merges first, whatever is appended to them. So a merge counted on its segmentation is
reached for exactly the words that it was counted in: what it saves on the text it was learned from is what was counted,
and no piece is learned that can never appear. Pieces learned apart from the tokenizer have neither.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Word = tuple[str, ...]
"""A word as the pieces that a tokenizer makes of it; no merge reaches over its ends."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Two neighbouring pieces that become one, and what that is worth."""

    left: str
    right: str
    gain: int
    """How often it is made in the text it was learned from: tokens saved."""
    side_effect: int
    """How often it is made in the text of the base language."""

    @property
    def piece(self) -> str:
        """What they become."""
        return self.left + self.right


def continue_merges(
    words: Mapping[Word, int],
    base_words: Mapping[Word, int],
    *,
    num_merges: int,
    is_taken: Callable[[str], bool],
    specificity: float = 0.0,
    min_gain: int = 2,
) -> list[Merge]:
    """Up to ``num_merges`` merges, at each step the most frequent pair of ``words`` (word -> count).

    A pair is passed over for good when ``is_taken(piece)``: a tokenizer that could make the piece in another way would
    go on from there with merges of its own, in words of any language. It is passed over, too, when it is not
    ``specificity`` times as frequent in ``words`` as in ``base_words``, both by their numbers of pieces. Equal counts
    are settled by the pieces' text. Ends early where no pair occurs ``min_gain`` times.
    """
    table = _Pairs()
    for source, weights in ((words, (1, 0)), (base_words, (0, 1))):
        for word, count in source.items():
            table.add(list(word), (count * weights[0], count * weights[1]))
    size = sum(len(word) * count for word, count in words.items())
    base_size = sum(len(word) * count for word, count in base_words.items())
    factor = specificity * size / base_size if base_size else 0.0
    merges: list[Merge] = []
    while len(merges) < num_merges:
        found = table.most_frequent()
        if found is None or table.counts[found][0] < min_gain:
            break
        gain, side_effect = table.counts[found]
        left, right = found
        if is_taken(left + right) or gain < factor * side_effect:
            table.ban(found)
            continue
        table.merge(found)
        merges.append(Merge(left, right, gain, side_effect))
    return merges


def gains_on(merges: Sequence[Merge], words: Mapping[Word, int]) -> list[int]:
    """How often each merge is made in other words, all of them applied in their order."""
    table = _Pairs()
    for word, count in words.items():
        table.add(list(word), (count, 0))
    gains = []
    for merge in merges:
        pair = merge.left, merge.right
        gains.append(table.counts.get(pair, (0, 0))[0])
        table.merge(pair)
    return gains


def best(merges: Sequence[Merge], gains: Sequence[int], num_merges: int) -> list[Merge]:
    """Up to ``num_merges`` of them, in their order, each with all that its piece is built of.

    Dropped are, one after the other, those with the smallest gain of which no other piece is built, of equal ones the
    later; those without any gain in any case.
    """
    maker = {merge.piece: number for number, merge in enumerate(merges)}
    users = [0] * len(merges)
    for merge in merges:
        for part in (merge.left, merge.right):
            if part in maker:
                users[maker[part]] += 1
    ends = [(gain, -number) for number, gain in enumerate(gains) if not users[number]]
    heapq.heapify(ends)
    kept = set(range(len(merges)))
    while ends and (len(kept) > num_merges or ends[0][0] == 0):
        number = -heapq.heappop(ends)[1]
        kept.remove(number)
        for part in (merges[number].left, merges[number].right):
            if part in maker:
                users[maker[part]] -= 1
                if not users[maker[part]]:
                    heapq.heappush(ends, (gains[maker[part]], -maker[part]))
    return [merges[number] for number in sorted(kept)]


class _Pairs:
    """Every pair of neighbours with its count in both texts and the words it stands in, kept up as pairs are merged."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], list[int]] = {}
        self._where: dict[tuple[str, str], set[int]] = {}
        self._words: list[list[str]] = []
        self._weights: list[tuple[int, int]] = []
        self._queue: list[tuple[int, tuple[str, str]]] = []
        self._banned: set[tuple[str, str]] = set()

    def add(self, word: list[str], weight: tuple[int, int]) -> None:
        number = len(self._words)
        self._words.append(word)
        self._weights.append(weight)
        for pair in self._count(number, 1):
            self._push(pair)

    def most_frequent(self) -> tuple[str, str] | None:
        """The pair with the largest count in the first text; entries of the queue that are out of date are renewed."""
        while self._queue:
            count, pair = self._queue[0]
            now = self.counts.get(pair, (0, 0))[0] if pair not in self._banned else 0
            if now == -count and now > 0:
                return pair
            heapq.heappop(self._queue)
            if now > 0:
                heapq.heappush(self._queue, (-now, pair))
        return None

    def ban(self, pair: tuple[str, str]) -> None:
        """Never offer it."""
        self._banned.add(pair)

    def merge(self, pair: tuple[str, str]) -> None:
        """Make it one piece wherever it stands, from the left."""
        left, right = pair
        piece = left + right
        touched: set[tuple[str, str]] = set()
        for number in sorted(self._where.get(pair, ())):
            self._count(number, -1)
            word, merged, i = self._words[number], [], 0
            while i < len(word):
                if i + 1 < len(word) and word[i] == left and word[i + 1] == right:
                    merged.append(piece)
                    i += 2
                else:
                    merged.append(word[i])
                    i += 1
            self._words[number] = merged
            touched |= self._count(number, 1)
        for changed in touched:
            self._push(changed)

    def _count(self, number: int, sign: int) -> set[tuple[str, str]]:
        """Add or take away the pairs of one word; those that changed."""
        first, second = self._weights[number]
        pairs = list(_pairs(self._words[number]))
        for pair in pairs:
            count = self.counts.setdefault(pair, [0, 0])
            count[0] += sign * first
            count[1] += sign * second
        distinct = set(pairs)
        for pair in distinct:
            where = self._where.setdefault(pair, set())
            if sign > 0:
                where.add(number)
            else:
                where.discard(number)
                if not where:
                    del self._where[pair], self.counts[pair]
        return distinct

    def _push(self, pair: tuple[str, str]) -> None:
        count = self.counts[pair][0]
        if count:
            heapq.heappush(self._queue, (-count, pair))


def _pairs(word: list[str]) -> Iterable[tuple[str, str]]:
    """Neighbours that a merge would join: of ``a a a`` one pair, of ``a a a a`` two."""
    previous: tuple[str, str] | None = None
    for pair in itertools.pairwise(word):
        if pair == previous and pair[0] == pair[1]:
            previous = None
            continue
        yield pair
        previous = pair
