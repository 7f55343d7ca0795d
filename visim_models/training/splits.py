"""Splits that do not leak: near-duplicates are grouped first, and a group stays on one side."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Split", "near_duplicate_groups", "split"]

_THUMBNAIL = 16
_SAME_PICTURE = 0.985
"""Cosine of two centred thumbnails from which on two photographs count as one. Measured on the 7,600 cars: from 0.99 on
834 have a near-duplicate, in groups of 8 at most; below 0.98 one dealer's wall begins to join hundreds. In between, so
as to rather join too many than to leak."""


@dataclass(frozen=True)
class Split:
    """Places of the pictures in each part, sorted.

    Attributes:
        train: what the network learns from.
        calibration: what tuning and the detector's calibration see.
        test: what nothing sees until it is measured.
    """

    train: list[int]
    calibration: list[int]
    test: list[int]


def near_duplicate_groups(pixels: Tensor, *, threshold: float = _SAME_PICTURE) -> list[int]:
    """The group of each picture: the lowest place among those that it is connected to by near-duplicates.

    Args:
        pixels: (N, 3, S, S) uint8.
        threshold: cosine of two centred 16 x 16 thumbnails from which on they are near-duplicates.
    """
    thumbnails = _thumbnails(pixels)  # (N, 768)
    flipped = _thumbnails(pixels.flip(-1))
    group = list(range(len(pixels)))

    def root(place: int) -> int:
        while group[place] != place:
            group[place] = group[group[place]]
            place = group[place]
        return place

    for start in range(0, len(pixels), 1024):
        block = thumbnails[start : start + 1024]  # (B, 768)
        alike = torch.maximum(block @ thumbnails.T, block @ flipped.T) > threshold  # (B, N)
        for row, column in alike.nonzero().tolist():
            low, high = sorted((root(start + row), root(column)))
            group[high] = low
    return [root(place) for place in range(len(pixels))]


def split(groups: list[int], labels: list[str], *, seed: int, calibration: float, test: float) -> Split:
    """Deal whole groups out at random, class by class, until each part holds its share.

    Args:
        groups: the group of each picture.
        labels: its class; the first picture of a group decides for the group.
        seed: of the shuffle.
        calibration: share of the pictures, 0 to 1.
        test: share of the pictures, 0 to 1.
    """
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in sorted(set(labels)):
        own = [group for group in members if labels[group] == label]
        total = sum(len(members[group]) for group in own)
        bounds = (total * test, total * (test + calibration), total + 1)
        dealt = 0
        for place in torch.randperm(len(own), generator=generator).tolist():
            part = next(index for index, bound in enumerate(bounds) if dealt < bound)
            parts[part].extend(members[own[place]])
            dealt += len(members[own[place]])
    return Split(train=sorted(parts[2]), calibration=sorted(parts[1]), test=sorted(parts[0]))


def _thumbnails(pixels: Tensor) -> Tensor:
    """(N, 3, S, S) uint8 -> (N, 768) centred and of length 1."""
    rows = []
    for block in pixels.split(512):
        small = F.interpolate(block.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area").flatten(1)  # (B, 768)
        rows.append(F.normalize(small - small.mean(dim=1, keepdim=True), dim=1))
    return torch.cat(rows)
