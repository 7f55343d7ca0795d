"""Near-duplicates are grouped: copies, mirrored copies and plain pictures of one colour; other pictures are not."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.builders import drawn_pictures
from visim_models.galleries.near_duplicates import (
    SAME_PHOTOGRAPH,
    area_scaled,
    near_duplicate_groups,
    near_duplicates_of,
    picture_groups,
)

Pixels = npt.NDArray[np.uint8]


def pixels(count: int) -> Pixels:
    return np.stack(drawn_pictures(count)).transpose(0, 3, 1, 2)


def plain(*colours: tuple[int, int, int]) -> Pixels:
    return np.stack([np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, 48, 48)) for colour in colours])


def groups_of(pictures: Pixels, threshold: float = SAME_PHOTOGRAPH) -> list[int]:
    return near_duplicate_groups(pictures, threshold=threshold)


def test_different_pictures_are_apart() -> None:
    assert groups_of(pixels(12)) == list(range(12))
    assert groups_of(pixels(1)[:0]) == picture_groups([], threshold=SAME_PHOTOGRAPH) == []


def test_copies_mirrored_brighter_or_noisy_are_together() -> None:
    one, other = pixels(2)
    brighter = (one * 0.9 + 20).astype(np.uint8)
    noisy = (one + np.random.default_rng(0).normal(0, 3, one.shape)).clip(0, 255).astype(np.uint8)
    pictures = np.stack([other, one, one, one[..., ::-1], brighter, noisy])
    assert groups_of(pictures) == [0, 1, 1, 1, 1, 1]
    images = [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures]
    assert picture_groups([*images, images[1].resize((90, 70))], threshold=SAME_PHOTOGRAPH) == [0, 1, 1, 1, 1, 1, 1]


def test_plain_pictures_are_compared_by_colour_and_are_no_patterns() -> None:
    pictures = np.concatenate([plain((255, 255, 255), (0, 0, 0), (254, 255, 253), (200, 0, 0), (0, 0, 0)), pixels(1)])
    assert groups_of(pictures) == [0, 1, 0, 3, 1, 5]
    pattern = np.zeros((3, 48, 48), np.uint8)
    pattern[:, ::2] = 255
    pattern[:, :24] //= 2
    grey = int(pattern.mean())
    assert groups_of(np.concatenate([pattern[None], plain((grey, grey, grey))])) == [0, 1]


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    (picture,) = pixels(1)
    rolled = np.stack([np.roll(picture, shift, axis=2) for shift in (4, 0, 2, 1, 3)])
    assert groups_of(rolled, 0.97) == [0] * 5


def test_thousands_of_copies_are_grouped_in_memory_that_grows_with_their_number() -> None:
    assert groups_of(np.broadcast_to(pixels(1), (3000, 3, 48, 48))) == [0] * 3000


def test_near_duplicates_of_one_are_those_of_its_group() -> None:
    pictures, grey = pixels(6), plain((90, 90, 90), (93, 93, 93), (99, 99, 99))
    others = np.concatenate([pictures, pictures[:1, ..., ::-1], grey])
    found = [near_duplicates_of(one, others, threshold=SAME_PHOTOGRAPH) for one in (pictures[0], grey[0])]
    assert [alike.nonzero()[0].tolist() for alike in found] == [[0, 6], [7, 8]]
    groups = groups_of(np.concatenate([pictures[:1], others]))
    assert [number for number, group in enumerate(groups[1:]) if group == 0] == [0, 6]


def test_pixels_are_the_means_of_those_that_they_cover() -> None:
    levels = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    assert area_scaled(levels, 3).tolist() == levels.tolist()
    assert area_scaled(levels, 2).tolist() == [[[2, 3], [5, 6]]]
