"""Near-duplicates are found and stay on one side of every split."""

import io
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lab.splits import near_duplicate_groups, split
from tests.builders import drawn_pictures


def tensor_of(pictures: list[np.ndarray]) -> Tensor:
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])


def brightened(picture: np.ndarray) -> np.ndarray:
    return (picture * 0.8 + 20).astype(np.uint8)


def cropped(picture: np.ndarray) -> np.ndarray:
    side = len(picture)
    part = Image.fromarray(picture[1 : side - 1, 1 : side - 1])
    return np.array(part.resize((side, side), Image.Resampling.BILINEAR))


def mirrored(picture: np.ndarray) -> np.ndarray:
    return picture[:, ::-1].copy()


def recompressed(picture: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=60)
    return np.array(Image.open(file))


@pytest.mark.parametrize("copy", [brightened, cropped, mirrored, recompressed, np.copy])
def test_copies_are_grouped_with_their_originals(copy) -> None:  # type: ignore[no-untyped-def]
    originals = drawn_pictures(8, size=96)
    groups = near_duplicate_groups(tensor_of([*originals, *(copy(picture) for picture in originals)]))
    assert groups == [*range(8), *range(8)]


def test_different_pictures_stay_apart() -> None:
    assert near_duplicate_groups(tensor_of(drawn_pictures(40, size=32))) == list(range(40))


def test_groups_join_through_a_third() -> None:
    """A is like B and B like C, though A is not like C: one group of all three."""
    first, third = torch.zeros(2, 3, 16, 16)
    first[:, :, 0], third[:, 0, :] = 200, 200
    groups = near_duplicate_groups(torch.stack([first, (first + third) / 2, third]).byte(), threshold=0.6)
    assert groups == [0, 0, 0]
    assert near_duplicate_groups(torch.stack([first, third]).byte(), threshold=0.6) == [0, 1]


def test_every_picture_is_dealt_once_and_groups_stay_whole() -> None:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 150, 400)).tolist()
    groups = [groups.index(group) for group in groups]  # the lowest place names the group
    labels = [f"class {group % 3}" for group in groups]
    parts = split(groups, labels, seed=1, calibration=0.1, test=0.2)
    assert sorted([*parts.train, *parts.calibration, *parts.test]) == list(range(400))
    sides = [{groups[place] for place in part} for part in (parts.train, parts.calibration, parts.test)]
    assert len(set.union(*sides)) == sum(len(side) for side in sides)
    assert len(parts.test) == pytest.approx(80, abs=15)
    assert len(parts.calibration) == pytest.approx(40, abs=15)


def test_each_class_has_its_share() -> None:
    labels = ["a"] * 80 + ["b"] * 40
    parts = split(list(range(120)), labels, seed=3, calibration=0.125, test=0.25)
    assert Counter(labels[place] for place in parts.test) == {"a": 20, "b": 10}
    assert Counter(labels[place] for place in parts.calibration) == {"a": 10, "b": 5}


def test_the_seed_decides() -> None:
    arguments = {"calibration": 0.1, "test": 0.1}
    groups, labels = list(range(100)), ["a"] * 100
    assert split(groups, labels, seed=1, **arguments) == split(groups, labels, seed=1, **arguments)
    assert split(groups, labels, seed=1, **arguments) != split(groups, labels, seed=2, **arguments)


def test_no_share_is_nobody() -> None:
    parts = split(list(range(9)), ["a"] * 9, seed=0, calibration=0, test=0)
    assert (parts.train, parts.calibration, parts.test) == (list(range(9)), [], [])
