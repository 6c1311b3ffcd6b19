"""Every initialiser under the suite, and each against what it says it does."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descant.testing.initialiser_suite import DIM, ROWS, InitialiserSuite, some_tokens
from descant.vocab.extend import add_tokens, append_merges, append_pieces, from_description
from descant.vocab.initialise import INITIALISERS
from descant.vocab.initialise.base import Initialiser, NewTokens, new_tokens
from descant.vocab.initialise.focus import Focus, auxiliary_space, sparsemax
from descant.vocab.initialise.mean import Mean, WeightedMean
from descant.vocab.initialise.random import Normal, RandomRow
from descant.vocab.merges import continue_merges
from descant.vocab.unigram import append_scored
from descant.vocab.words import count_words, description, family_of
from tests.vocab.bases import HINDI, TURKISH, byte_level, converted, spaced, wordpiece

OLD = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(3))


class TestEvery(InitialiserSuite):
    @pytest.fixture(params=[cls() for cls in INITIALISERS], ids=lambda one: one.kind)
    def initialiser(self, request: Any) -> Initialiser:
        initialiser: Initialiser = request.param
        return initialiser


def test_mean_is_the_mean_of_the_parts() -> None:
    new = some_tokens()
    rows = Mean().rows(OLD, new, seed=1)
    for row, parts in zip(rows, new.parts, strict=True):
        torch.testing.assert_close(row, OLD[list(parts)].mean(0))


def test_weighted_mean_leans_to_rare_parts() -> None:
    new = some_tokens()
    rows = WeightedMean(a=0.1).rows(OLD, new, seed=1)
    assert new.parts[1] == (1, 2)
    torch.testing.assert_close(rows[1], (OLD[1] * 0.5 + OLD[2] * 1.0) / 1.5)


def test_normal_has_the_moments_of_the_base() -> None:
    old = OLD * torch.arange(1, DIM + 1) + 3
    many = some_tokens()
    many = type(many)(many.pieces * 2000, tuple(range(100, 100 + 12000)), many.parts * 2000, {})
    rows = Normal().rows(old, many, seed=1)
    torch.testing.assert_close(rows.mean(0), old.mean(0), atol=0.3, rtol=0.05)
    torch.testing.assert_close(rows.std(0), old.std(0), atol=0.1, rtol=0.05)


def test_random_rows_are_rows_of_the_base() -> None:
    rows = RandomRow().rows(OLD, some_tokens(), seed=1)
    assert all(any(torch.equal(row, old) for old in OLD) for row in rows)


def test_focus_mixes_rows_of_tokens_used_alike() -> None:
    """Token 100 stands where 1 stands, 101 where 2 stands: their rows are nearest to those of 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    texts = []
    for _ in range(400):
        kind = int(torch.randint(2, (1,), generator=generator))
        around = [3 + 5 * kind + int(torch.randint(5, (1,), generator=generator)) for _ in range(4)]
        centre = [1 + kind, 100 + kind][int(torch.randint(2, (1,), generator=generator))]
        texts.append([*around[:2], centre, *around[2:]])
    new = NewTokens(("a", "b"), (100, 101), ((20,), (21,)), {}, texts)
    rows = Focus(dim=8).rows(OLD, new, seed=1)
    space = auxiliary_space(texts, [*range(13), 100, 101], dim=8, window=5, seed=1)
    assert space[13] @ space[1] > 0.9 > 0.5 > space[13] @ space[2]
    nearness = rows @ torch.nn.functional.normalize(OLD, dim=1).T
    assert nearness[0, 1] > nearness[0, 2]
    assert nearness[1, 2] > nearness[1, 1]


def test_focus_takes_the_mean_of_the_parts_where_a_token_does_not_occur() -> None:
    new = some_tokens()
    torch.testing.assert_close(Focus().rows(OLD, new, seed=1)[-1], OLD[list(new.parts[-1])].mean(0))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_sparsemax_is_the_nearest_point_of_the_simplex(scores: list[float]) -> None:
    row = torch.tensor([scores], dtype=torch.float64)
    found = sparsemax(row)[0]
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    # the optimum: what is positive lies the same distance below its score, and nothing else lies higher than that
    threshold = (row[0] - found)[found > 0]
    assert threshold.max() - threshold.min() < 1e-9
    assert (row[0][found == 0] <= threshold.max() + 1e-9).all()


@pytest.mark.parametrize(
    ("base", "texts"),
    [(byte_level(), TURKISH), (byte_level(), HINDI), (spaced(), TURKISH)],
    ids=["bytes tr", "bytes hi", "spaced tr"],
)
def test_parts_are_what_the_base_makes_of_the_surface_text(base: Any, texts: tuple[str, ...]) -> None:
    """Not of the byte alphabet, nor with a space in front that the piece does not have (arXiv:2406.14670's code)."""
    described = description(base)
    words = count_words(base, texts * 2, family_of(described))
    merges = continue_merges(words, {}, num_merges=60, is_taken=described["model"]["vocab"].__contains__)
    grown = from_description(append_merges(described, merges))
    found = new_tokens(base, grown)
    assert len(found.ids) == len(merges) >= 40
    pieces = {number: piece for piece, number in base.get_vocab().items()}
    for piece, parts in zip(found.pieces, found.parts, strict=True):
        assert "".join(pieces[part] for part in parts) == piece


def test_parts_of_added_words_and_of_inner_pieces() -> None:
    base = byte_level()
    grown = from_description(add_tokens(description(base), ["bahçe"], whole_words=True))
    (parts,) = new_tokens(base, grown).parts
    assert base.backend_tokenizer.decode(list(parts)) == "bahçe"
    base = wordpiece()
    grown = from_description(append_pieces(description(base), ["##ther", "ßß"]))
    inner, unknown = new_tokens(base, grown).parts
    names = {number: piece for piece, number in base.get_vocab().items()}
    assert "".join(names[part] for part in inner).replace("##", "") == "ther"
    assert all(names[part].startswith("##") for part in inner)
    assert [names[part] for part in unknown] == ["[UNK]"]


def test_parts_of_a_unigram_piece_are_the_bases_cut_of_its_letters() -> None:
    base = converted("unigram")
    grown = from_description(append_scored(description(base), {"▁zebra": -5.0}))
    (parts,) = new_tokens(base, grown).parts
    assert list(parts) == base.backend_tokenizer.encode("zebra", add_special_tokens=False).ids
