"""Synthetic outliers are pictures of the stated form, the same for the same seed."""

import pytest
import torch

from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers


@pytest.mark.parametrize("kind", SYNTHETIC_KINDS)
@pytest.mark.parametrize("size", [8, 32, 100])
def test_form_and_seed(kind: str, size: int) -> None:
    drawn = synthetic_outliers(kind, 3, size, seed=1)
    assert (drawn.shape, drawn.dtype) == ((3, 3, size, size), torch.uint8)
    assert torch.equal(drawn, synthetic_outliers(kind, 3, size, seed=1))
    assert not torch.equal(drawn, synthetic_outliers(kind, 3, size, seed=2))
    assert not torch.equal(drawn[0], drawn[1])


def test_the_kinds_look_like_what_they_are() -> None:
    def roughness(kind: str) -> float:
        drawn = synthetic_outliers(kind, 20, 32, seed=0).float()
        return (drawn[..., 1:] - drawn[..., :-1]).abs().mean().item()

    assert roughness("plain") < 5
    assert roughness("gradient") < roughness("noise") / 3
    assert {"noise", "plain", "gradient", "stripes", "text", "plot"} == set(SYNTHETIC_KINDS)


def test_drawing_leaves_the_callers_random_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    for kind in SYNTHETIC_KINDS:
        synthetic_outliers(kind, 1, 16, seed=0)
    assert torch.equal(torch.rand(3), expected)
