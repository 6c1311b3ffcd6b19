import math

import pytest
import torch

from descant.models.encoder import Pooling
from descant.models.pooling import pool

NAN = float("nan")
STATES = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [NAN, NAN]]])
RIGHT_PADDED = torch.tensor([[True, True, True, False]])
S = 1 / math.sqrt(5)


@pytest.mark.parametrize(
    ("pooling", "target", "expected"),
    [
        ("cls", [1, 1, 1, 0], [1.0, 0.0]),
        ("last_token", [1, 1, 1, 0], [0.6, 0.8]),
        ("eos", [1, 1, 1, 0], [0.6, 0.8]),
        ("mean", [1, 1, 0, 0], [S, 2 * S]),
        ("mean", [0, 0, 1, 1], [0.6, 0.8]),
        ("mean", [0, 0, 0, 0], [0.0, 0.0]),
    ],
)
def test_pooled_vector_of_hand_made_states(
    pooling: Pooling, target: list[int], expected: list[float]
) -> None:
    vectors = pool(STATES, RIGHT_PADDED, torch.tensor([target]).bool(), pooling=pooling)
    torch.testing.assert_close(vectors, torch.tensor([expected]))


@pytest.mark.parametrize("pooling", ["cls", "last_token", "eos", "mean"])
def test_pooled_vector_is_the_same_for_either_side_of_padding(pooling: Pooling) -> None:
    left, left_mask = STATES.roll(1, dims=1), RIGHT_PADDED.roll(1, dims=1)
    torch.testing.assert_close(
        pool(left, left_mask, left_mask, pooling=pooling),
        pool(STATES, RIGHT_PADDED, RIGHT_PADDED, pooling=pooling),
    )


def test_pooled_vector_of_bf16_states_is_float32_of_unit_length() -> None:
    states = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    mask = torch.ones(3, 5, dtype=torch.bool)
    vectors = pool(states, mask, mask, pooling="mean")
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_pooling_gives_padding_no_gradient() -> None:
    states = torch.ones(1, 4, 2).cumsum(1).cumsum(2).requires_grad_()
    pool(states, RIGHT_PADDED, RIGHT_PADDED, pooling="mean")[0, 0].backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert torch.equal(states.grad[0, 3], torch.zeros(2))
    assert states.grad[0, :3].abs().min() > 0
