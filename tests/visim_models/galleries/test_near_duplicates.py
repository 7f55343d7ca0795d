"""Near-duplicates are grouped: copies, mirrored copies and plain pictures of one colour; other pictures are not."""

import torch
from torch import Tensor

from tests.builders import drawn_pictures
from visim_models.galleries.near_duplicates import near_duplicate_groups, near_duplicates_of


def pixels(count: int) -> Tensor:
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in drawn_pictures(count)])


def plain(*colours: tuple[int, int, int]) -> Tensor:
    return torch.stack([torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, 48, 48) for colour in colours])


def test_different_pictures_are_apart() -> None:
    assert near_duplicate_groups(pixels(12)) == list(range(12))


def test_copies_mirrored_brighter_or_noisy_are_together() -> None:
    one, other = pixels(2)
    brighter = (one.float() * 0.9 + 20).to(torch.uint8)
    noisy = (one.float() + 3 * torch.randn(one.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    pictures = torch.stack([other, one, one, one.flip(-1), brighter, noisy.to(torch.uint8)])
    assert near_duplicate_groups(pictures) == [0, 1, 1, 1, 1, 1]


def test_plain_pictures_are_compared_by_colour() -> None:
    pictures = torch.cat([plain((255, 255, 255), (0, 0, 0), (254, 255, 253), (200, 0, 0), (0, 0, 0)), pixels(1)])
    assert near_duplicate_groups(pictures) == [0, 1, 0, 3, 1, 5]


def test_a_plain_picture_is_no_copy_of_a_pattern_of_its_mean_colour() -> None:
    pattern = torch.zeros(3, 48, 48, dtype=torch.uint8)
    pattern[:, ::2] = 255
    pattern[:, :24] //= 2
    grey = int(pattern.float().mean())
    assert near_duplicate_groups(torch.cat([pattern[None], plain((grey, grey, grey))])) == [0, 1]


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    (picture,) = pixels(1)
    rolled = [picture.roll(shift, dims=2) for shift in (0, 1, 2, 3, 4)]
    groups = near_duplicate_groups(torch.stack([rolled[index] for index in (4, 0, 2, 1, 3)]), threshold=0.97)
    assert groups == [0] * 5


def test_thousands_of_copies_are_grouped_in_memory_that_grows_with_their_number() -> None:
    (picture,) = pixels(1)
    assert near_duplicate_groups(picture[None].expand(3000, -1, -1, -1)) == [0] * 3000


def test_near_duplicates_of_one_are_those_of_its_group() -> None:
    pictures, grey = pixels(6), plain((90, 90, 90), (93, 93, 93), (99, 99, 99))
    others = torch.cat([pictures, pictures[:1].flip(-1), grey])
    assert near_duplicates_of(pictures[0], others).nonzero()[:, 0].tolist() == [0, 6]
    assert near_duplicates_of(grey[0], others).nonzero()[:, 0].tolist() == [7, 8]
    groups = near_duplicate_groups(torch.cat([pictures[:1], others]))
    assert [number for number, group in enumerate(groups[1:]) if group == 0] == [0, 6]
