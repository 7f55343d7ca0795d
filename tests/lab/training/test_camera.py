"""The faults of cameras, and pictures of nothing: each does what it says, to as many pictures as were asked for."""

import pytest
import torch

from lab.training.abstraction import _WAYS, abstract
from lab.training.camera import (
    add_noise,
    blur,
    cast_colour,
    compress,
    darken,
    lower_resolution,
    take_pictures,
)
from tests.builders import drawn_pictures


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.stack([torch.from_numpy(p).permute(2, 0, 1) for p in drawn_pictures(6, size=48)]).float()


def roughness(images: torch.Tensor) -> float:
    return (images[..., 1:] - images[..., :-1]).abs().mean().item()


def test_blur_and_low_resolution_lose_detail_and_keep_the_colours(images: torch.Tensor) -> None:
    for changed in (blur(images, 0.03), lower_resolution(images, 0.3)):
        assert changed.shape == images.shape
        assert roughness(changed) < roughness(images) - 0.05
        torch.testing.assert_close(changed.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=6, rtol=0.05)


def test_darkness_and_colour_casts(images: torch.Tensor) -> None:
    assert (darken(images).mean(dim=(1, 2, 3)) < images.mean(dim=(1, 2, 3))).all()
    factors = cast_colour(images)[:, :, 0, 0] / images[:, :, 0, 0].clamp(min=1e-6)
    seen = factors[images[:, :, 0, 0] > 1]
    assert ((seen > 0.69) & (seen < 1.31)).all()
    assert seen.std() > 0.01


def test_noise_and_compression_are_near_the_picture(images: torch.Tensor) -> None:
    assert 0 < (add_noise(images) - images).std() < 25
    rough, fine = compress(images, [10] * 6), compress(images, [95] * 6)
    assert (fine - images).abs().mean() < (rough - images).abs().mean()
    assert compress(images[:0], []).shape == (0, 3, 48, 48)


def test_a_share_of_the_pictures_is_taken(images: torch.Tensor) -> None:
    many = images.repeat(40, 1, 1, 1)
    assert torch.equal(take_pictures(many, 0.0), many)
    for change in (take_pictures, abstract):
        changed = (change(many, 0.1) != many).flatten(1).any(dim=1).float().mean().item()
        assert 0.04 < changed < 0.7


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("side", [32, 48, 50])
def test_pictures_of_nothing_keep_the_size_and_range(way, side: int) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    images = 255 * torch.rand(3, 3, side, side)
    changed = way(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert not torch.equal(changed, images)
