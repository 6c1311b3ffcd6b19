"""The promises of every embedding initialiser, as tests to subclass by filling ``initialiser``."""

import pytest
import torch

from descant.core.errors import NumericsError
from descant.vocab.initialise.base import Initialiser, NewTokens

ROWS, NEW, DIM = 30, 6, 8


def some_tokens() -> NewTokens:
    """Six new tokens behind a gap of two ids, of one to three parts; the last never occurs in the texts."""
    generator = torch.Generator().manual_seed(5)
    ids = tuple(range(ROWS + 2, ROWS + 2 + NEW))
    texts = [torch.randint(0, ROWS, (40,), generator=generator).tolist() for _ in range(30)]
    for text in texts:
        text[::5] = [ids[i % (NEW - 1)] for i in range(len(text[::5]))]
    parts = tuple(tuple(range(n, n + 1 + n % 3)) for n in range(NEW))
    return NewTokens(tuple(f"piece{n}" for n in range(NEW)), ids, parts, {0: 0.5, 1: 0.1}, texts)


class InitialiserSuite:
    """Give the fixture ``initialiser``."""

    @pytest.fixture
    def initialiser(self) -> Initialiser:
        raise pytest.UsageError("a subclass gives the initialiser under test")

    @pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
    def old(self, request: pytest.FixtureRequest) -> torch.Tensor:
        values = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(3))
        return values.to(request.param)

    def test_rows_of_the_base_are_kept_bit_for_bit(self, initialiser: Initialiser, old: torch.Tensor) -> None:
        before = old.clone()
        filled = initialiser.fill(old, some_tokens(), seed=1)
        assert torch.equal(filled[:ROWS], before)
        assert torch.equal(old, before)

    def test_there_is_a_finite_row_for_every_id_in_the_dtype_of_the_base(
        self, initialiser: Initialiser, old: torch.Tensor
    ) -> None:
        filled = initialiser.fill(old, some_tokens(), seed=1)
        assert filled.shape == (ROWS + 2 + NEW, DIM)
        assert filled.dtype == old.dtype
        assert filled.isfinite().all()
        assert filled[ROWS + 2 :].abs().sum(1).min() > 0
        assert filled[ROWS : ROWS + 2].abs().sum() == 0

    def test_a_matrix_with_spare_rows_does_not_grow(self, initialiser: Initialiser) -> None:
        padded = torch.randn(64, DIM, generator=torch.Generator().manual_seed(3))
        assert initialiser.fill(padded, some_tokens(), seed=1).shape == (64, DIM)

    def test_equal_seeds_give_equal_rows(self, initialiser: Initialiser, old: torch.Tensor) -> None:
        torch.manual_seed(1)
        first = initialiser.fill(old, some_tokens(), seed=1)
        torch.manual_seed(2)
        assert torch.equal(first, initialiser.fill(old, some_tokens(), seed=1))

    def test_the_random_state_of_others_is_left_alone(
        self, initialiser: Initialiser, old: torch.Tensor
    ) -> None:
        state = torch.random.get_rng_state()
        initialiser.fill(old, some_tokens(), seed=1)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_rows_that_are_not_finite_are_refused(self, initialiser: Initialiser) -> None:
        broken = torch.full((ROWS, DIM), float("nan"))
        if type(initialiser).__name__ == "Random":
            pytest.skip("does not look at the base")
        with pytest.raises(NumericsError, match="new rows are not finite"):
            initialiser.fill(broken, some_tokens(), seed=1)
