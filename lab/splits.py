"""Splits that do not leak: near-duplicates are grouped first, and a group stays on one side."""

from dataclasses import dataclass

import torch

__all__ = ["Split", "split"]


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
