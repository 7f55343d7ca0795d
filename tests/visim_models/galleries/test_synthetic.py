"""Synthetic outliers are pictures of the stated form, the same for the same seed: those that torch's numbers drew."""

import numpy as np
import pytest
import torch

from visim_models.galleries.synthetic import SYNTHETIC_KINDS, _Draws, synthetic_outliers


@pytest.mark.parametrize("size", [8, 32, 100])
def test_form_and_seed(size: int) -> None:
    assert {"noise", "plain", "gradient", "stripes", "text", "plot"} == set(SYNTHETIC_KINDS)
    for kind in SYNTHETIC_KINDS:
        drawn = synthetic_outliers(kind, 3, size, seed=1)
        assert (drawn.shape, drawn.dtype) == ((3, 3, size, size), np.uint8), kind
        assert np.array_equal(drawn, synthetic_outliers(kind, 3, size, seed=1)), kind
        assert not np.array_equal(drawn, synthetic_outliers(kind, 3, size, seed=2)), kind
        assert not np.array_equal(drawn[0], drawn[1]), kind


def test_the_kinds_look_like_what_they_are() -> None:
    def roughness(kind: str) -> float:
        return float(np.abs(np.diff(synthetic_outliers(kind, 20, 32, seed=0).astype(float))).mean())

    assert roughness("plain") < 5
    assert roughness("gradient") < roughness("noise") / 3


@pytest.mark.parametrize("seed", [0, 14])
def test_the_random_numbers_are_those_of_torch(seed: int) -> None:
    draws, generator = _Draws(seed), torch.Generator().manual_seed(seed)
    for shape in ((3, 5, 5), (1, 4, 4), (3, 17, 17)):
        assert np.array_equal(draws.uniform(*shape), torch.rand(shape, generator=generator).numpy())
        assert np.allclose(draws.normal(*shape), torch.randn(shape, generator=generator).numpy(), atol=1e-6)
        for high in (9, 2**31):
            assert draws.integer(1, high) == int(torch.randint(1, high, (), generator=generator))


def test_drawing_leaves_the_callers_random_numbers() -> None:
    np.random.seed(1)
    expected = np.random.random(3)
    np.random.seed(1)
    for kind in SYNTHETIC_KINDS:
        synthetic_outliers(kind, 1, 16, seed=0)
    assert np.array_equal(np.random.random(3), expected)
