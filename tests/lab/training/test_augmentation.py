"""Pictures are changed at random, each in its own way, and stay pictures."""

import pytest
import torch

from lab.recipes import RECIPES
from lab.training.augmentation import (
    _WAYS,
    Augmentation,
    abstract,
    add_noise,
    blur,
    cast_colour,
    compress,
    cut_mix,
    darken,
    lower_resolution,
    paint_decorations,
    put_on_plain_ground,
    take_pictures,
)
from tests.builders import drawn_pictures

PICTURES = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in drawn_pictures(6, size=40)])
STRONG = Augmentation(scale=0.6, colour=0.5, decorations=1.0, erase=1.0, flip=True)


@pytest.mark.parametrize("size", [32, 40, 50])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shape_and_range(size: int, dtype: torch.dtype) -> None:
    changed = STRONG(PICTURES.to(dtype), size)
    assert (changed.shape, changed.dtype) == ((6, 3, size, size), torch.float32)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert changed.isfinite().all()


def test_nothing_asked_for_changes_nothing() -> None:
    torch.testing.assert_close(Augmentation()(PICTURES, 40), PICTURES.float(), atol=0.01, rtol=0)


def test_flip_alone_mirrors_some_and_keeps_the_rest() -> None:
    torch.manual_seed(0)
    many = PICTURES[:1].repeat(64, 1, 1, 1)
    changed = Augmentation(flip=True)(many, 40)
    kept = (changed - many).abs().amax(dim=(1, 2, 3)) < 0.01
    mirrored = (changed - many.flip(-1)).abs().amax(dim=(1, 2, 3)) < 0.01
    assert (kept ^ mirrored).all()
    assert 16 <= int(mirrored.sum()) <= 48


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(scale=0.7),
        Augmentation(largest_scale=1.3),
        Augmentation(colour=0.3),
        Augmentation(decorations=1.0),
        Augmentation(erase=1.0),
    ],
)
def test_each_picture_in_its_own_way(augmentation: Augmentation) -> None:
    torch.manual_seed(1)
    changed = augmentation(PICTURES[:1].repeat(8, 1, 1, 1), 40)
    assert not any(torch.allclose(changed[0], other, atol=1) for other in changed[1:])


def test_sharp_pictures_are_shifted_by_whole_pixels() -> None:
    """Every row of pixels is one of the picture's own, or its reflection: none is a mean of two."""
    torch.manual_seed(2)
    many = PICTURES[:1].repeat(32, 1, 1, 1)
    changed = Augmentation(scale=0.5, sharp=1.0, flip=True)(many, 40)
    own = set(map(tuple, PICTURES[0].flatten(1).T.tolist()))
    assert {tuple(map(int, colour)) for colour in changed.movedim(1, -1).flatten(0, 2).tolist()} <= own
    middles = changed[:, :, 10:30, 10:30]
    places = [
        (top, left, mirrored)
        for middle in middles
        for mirrored in (False, True)
        for top in range(5, 16)
        for left in range(5, 16)
        if torch.equal(
            middle, (PICTURES[0].flip(-1) if mirrored else PICTURES[0])[:, top : top + 20, left : left + 20].float()
        )
    ]
    assert len(places) >= 32
    assert len(set(places)) > 16


def test_the_seed_decides_and_the_input_stays() -> None:
    before = PICTURES.clone()
    torch.manual_seed(5)
    first = STRONG(PICTURES, 40)
    torch.manual_seed(5)
    assert torch.equal(STRONG(PICTURES, 40), first)
    assert torch.equal(PICTURES, before)


def test_a_larger_scale_shrinks_the_picture_within_its_mirror() -> None:
    torch.manual_seed(3)
    left_black = torch.full((64, 3, 40, 40), 255.0)
    left_black[..., :20] = 0
    shrunk = Augmentation(scale=1.25, largest_scale=1.25)(left_black, 40)
    edges = shrunk.diff(dim=-1).abs().amax(dim=(1, 2)).argmax(dim=-1)  # (N,) where black meets white
    assert 14 <= edges.min() < edges.max() <= 25  # an eighth of the side to either side at most
    black = (shrunk < 128).float().mean(dim=(1, 2, 3))
    assert 0.35 < black.min() < black.max() < 0.65


def test_cut_mix_pastes_and_mixes_the_targets_by_area() -> None:
    torch.manual_seed(4)
    count = 200
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, 20, 20)
    targets = torch.eye(count)
    mixed, mixed_targets = cut_mix(images, targets, 0.5)
    for index in range(count):
        shares = torch.bincount(mixed[index, 0].flatten().long(), minlength=count) / 400
        torch.testing.assert_close(mixed_targets[index], shares)
    assert 0.3 < (mixed_targets.diag() < 1).float().mean() < 0.6
    untouched = cut_mix(images, targets, 0.0)
    assert torch.equal(untouched[0], images)
    assert torch.equal(untouched[1], targets)


def test_decorations_paint_the_stated_share() -> None:
    torch.manual_seed(2)
    plain = torch.full((400, 3, 20, 20), 128.5)
    painted = (paint_decorations(plain, 0.5) != plain).flatten(1).any(dim=1)
    assert 0.3 < painted.float().mean() < 0.55  # of the chosen half, a few get neither frame, banner nor logo
    assert torch.equal(paint_decorations(plain, 0.0), plain)
    assert (paint_decorations(plain, 1.0) == plain).float().mean() > 0.4  # the middle of the pictures stays


@pytest.mark.parametrize("recipe", [recipe for recipes in RECIPES.values() for recipe in recipes.values()])
def test_the_recipes_augmentations_fit_their_networks(recipe) -> None:  # type: ignore[no-untyped-def]
    pictures = torch.randint(0, 256, (2, 3, recipe.load_size, recipe.load_size), dtype=torch.uint8)
    size = recipe.processor.size
    assert recipe.augmentation(pictures, size).shape == (2, 3, size, size)


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


def test_on_a_plain_ground_a_picture_is_small_and_its_corners_are_plain() -> None:
    torch.manual_seed(0)
    grey = torch.full((200, 3, 64, 64), 100.0) + 20 * torch.rand(200, 3, 64, 64)
    found = put_on_plain_ground(grey, 1.0)
    assert found.shape == grey.shape
    assert found.min() >= 0
    assert found.max() <= 255
    corners = found[..., [0, 0, -1, -1], [0, -1, 0, -1]]  # (N, 3, 4)
    is_plain = (corners.amax(dim=1) - corners.amin(dim=1) < 1e-3).all(dim=1)  # white, black or grey in each channel
    assert is_plain.float().mean() > 0.9
    white = (found[:, :, 0, 0] > 254).all(dim=1).float().mean()
    assert 0.1 < white < 0.6
    middle = (found[:, :, 28:36, 28:36] - 110).abs().mean(dim=(1, 2, 3))
    assert (middle < 15).float().mean() > 0.8  # the picture itself is still there
    some = put_on_plain_ground(grey, 0.3)
    assert 0.15 < (some != grey).flatten(1).any(dim=1).float().mean() < 0.45
