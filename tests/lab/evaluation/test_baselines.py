"""Raw pixels and principal components as baselines."""

import pytest
import torch

from lab.evaluation.baselines import PrincipalComponents, nearest, raw_pixels


def test_nearest_is_euclidean() -> None:
    rows = torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    # The cosine would put the first row first.
    assert nearest(torch.tensor([[2.0, 0.0]]), rows, top_k=3).tolist() == [[1, 2, 0]]


def test_nearest_tells_rows_apart_that_are_far_from_zero() -> None:
    """The square of a length of 1e4 leaves no digit of a float32 for a distance of 1."""
    rows = 1e4 + torch.tensor([[3.0], [2.0], [1.0], [0.0]]).repeat(1, 500)
    assert nearest(rows[2:3] + 0.1, rows, top_k=4).tolist() == [[2, 1, 3, 0]]


def test_raw_pixels_average_over_areas() -> None:
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, ::2] = 100
    assert raw_pixels(image).shape == (1, 3072)
    assert raw_pixels(image).unique().tolist() == [50.0]


@pytest.mark.parametrize("size", [2, 8])
def test_components_rebuild_the_plane_that_they_were_fitted_to(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 60, (2, 3, size, size), generator=generator)
    weights = torch.randint(0, 3, (20, 2), generator=generator)
    images = (weights[:, :1, None, None] * first + weights[:, 1:, None, None] * second).to(torch.uint8)
    components = PrincipalComponents.fit(images)
    gram = components.basis.T @ components.basis
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-4)
    assert components.encode(images).shape == (20, min(3 * size * size, 19))
    assert components.errors(images).max() < 1e-6
    if size == 8:
        assert components.errors(255 - images[:1]).item() > 1e-3


def test_components_leave_the_global_generator_alone() -> None:
    images = torch.randint(0, 255, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    first, second = (PrincipalComponents.fit(images) for _ in range(2))
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(torch.random.get_rng_state(), before)
