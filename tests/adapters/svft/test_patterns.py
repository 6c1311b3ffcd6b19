"""Which coefficients train, and how many: against the definitions and the published models."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descant.adapters.patterns import num_positions, off_diagonals_within, positions
from descant.core.errors import ConfigError

PATTERNS = ("plain", "banded", "random", "top_k")

# hidden, mlp, layers, heads, key-value heads, head dimension
GEMMA_2B = (2048, 16384, 18, 8, 1, 256)
GEMMA_7B = (3072, 24576, 28, 16, 16, 256)
LLAMA_3_8B = (4096, 14336, 32, 32, 8, 128)
VIT_B = (768, 3072, 12, 12, 12, 64)
COUNTS = [
    (
        GEMMA_2B,
        "QKVOGUD",
        {0: 193_536, 2: 966_924, 8: 3_281_040, 12: 4_818_744, 16: 6_352_416, 24: 9_407_664},
    ),
    (GEMMA_2B, "QKVUD", {0: 119_808, 2: 598_500, 8: 2_030_256, 12: 2_981_160, 16: 3_929_184, 24: 5_816_592}),
    (GEMMA_7B, "QKVOGUD", {0: 602_112, 8: 10_221_792, 16: 19_816_384}),
    (LLAMA_3_8B, "QKVOGUD", {0: 720_896, 2: 3_603_136, 8: 12_239_104, 16: 23_728_640, 24: 35_189_504}),
    (LLAMA_3_8B, "UDOG", {0: 524_288, 12: 13_087_232, 16: 17_266_688}),
    (VIT_B, "QV", {0: 18_432, 2: 92_016, 4: 165_408, 8: 311_616}),
]


def vectors(outputs: int, inputs: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u, _, vt = torch.linalg.svd(torch.randn(outputs, inputs, generator=generator), full_matrices=False)
    return u, vt.T


def shapes(model: tuple[int, ...], letters: str) -> list[tuple[int, int]]:
    hidden, mlp, layers, heads, key_value_heads, head = model
    wide, narrow = heads * head, key_value_heads * head
    named = {
        "Q": (wide, hidden),
        "K": (narrow, hidden),
        "V": (narrow, hidden),
        "O": (hidden, wide),
        "G": (mlp, hidden),
        "U": (mlp, hidden),
        "D": (hidden, mlp),
    }
    return [named[letter] for letter in letters] * layers


@pytest.mark.parametrize(("model", "letters", "counts"), COUNTS)
def test_counts_are_those_of_the_published_models(
    model: tuple[int, ...], letters: str, counts: dict[int, int]
) -> None:
    for d, expected in counts.items():
        assert sum(num_positions("banded", min(shape), d) for shape in shapes(model, letters)) == expected


@pytest.mark.parametrize("pattern", PATTERNS)
@given(rank=st.integers(1, 12), d=st.integers(0, 14), seed=st.integers(0, 5))
def test_positions_are_as_many_as_declared_sorted_and_inside(
    pattern: str, rank: int, d: int, seed: int
) -> None:
    u, v = vectors(rank, rank, seed)
    found = positions(pattern, u, v, off_diagonals=d, seed=seed)  # type: ignore[arg-type]
    flat = (found[0] * rank + found[1]).tolist()
    assert len(flat) == num_positions(pattern, rank, d)  # type: ignore[arg-type]
    assert flat == sorted(set(flat))
    assert all(0 <= position < rank * rank for position in flat)


@given(rank=st.integers(1, 12), d=st.integers(0, 14))
def test_band_holds_exactly_the_positions_near_the_diagonal(rank: int, d: int) -> None:
    rows, columns = positions("banded", *vectors(rank, rank), off_diagonals=d, seed=0)
    inside = [(i, j) for i in range(rank) for j in range(rank) if abs(i - j) <= d]
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == inside


def test_random_positions_follow_the_seed_and_cover_evenly() -> None:
    u, v = vectors(20, 20)
    draws = [positions("random", u, v, off_diagonals=2, seed=seed) for seed in range(200)]
    assert torch.equal(draws[3], positions("random", u, v, off_diagonals=2, seed=3))
    assert not torch.equal(draws[3], draws[4])
    counts = torch.zeros(20, 20)
    for rows, columns in draws:
        counts[rows, columns] += 1
    expected = 200 * num_positions("random", 20, 2) / 400
    assert counts.min() > 0
    assert abs(counts.mean() - expected) < 1e-3
    assert ((counts - expected) ** 2).mean() < 1.3 * expected  # a binomial's variance is below its mean


def test_top_k_takes_the_pairs_with_the_largest_absolute_product() -> None:
    u, v = vectors(9, 9)
    products = [(abs(float(u[:, i].double() @ v[:, j].double())), i, j) for i in range(9) for j in range(9)]
    expected = sorted((i, j) for _, i, j in sorted(products, reverse=True)[: num_positions("top_k", 9, 1)])
    rows, columns = positions("top_k", u, v, off_diagonals=1, seed=0)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


def test_top_k_of_a_rectangular_weight_is_refused_or_a_band_as_asked() -> None:
    u, v = vectors(9, 6)
    with pytest.raises(ConfigError, match=r"u_i \. v_j is not defined for a weight of 9 x 6"):
        positions("top_k", u, v, off_diagonals=1, seed=0)
    found = positions("top_k", u, v, off_diagonals=1, seed=0, rectangular="banded")
    assert torch.equal(found, positions("banded", u, v, off_diagonals=1, seed=0))


@given(budget=st.integers(1, 3000), ranks=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_budget_is_used_as_far_as_whole_diagonals_go(budget: int, ranks: list[int]) -> None:
    def needed(d: int) -> int:
        return sum(num_positions("banded", rank, d) for rank in ranks)

    if needed(0) > budget:
        with pytest.raises(ConfigError, match="the diagonals alone hold"):
            off_diagonals_within(budget, "banded", ranks)
        return
    d = off_diagonals_within(budget, "banded", ranks)
    assert needed(d) <= budget
    assert d == max(ranks) - 1 or needed(d + 1) > budget


def test_plain_has_no_budget_to_solve_for() -> None:
    with pytest.raises(ConfigError, match="trains one coefficient per rank"):
        off_diagonals_within(100, "plain", [4])
