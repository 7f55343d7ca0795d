"""Group near-duplicates: pictures whose thumbnails, or mirrored thumbnails, are almost the same."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["near_duplicate_groups"]

_THUMBNAIL = 16
_SAME_PICTURE = 0.985
"""Cosine of two centred thumbnails from which on two photographs count as one. Measured on the 7,600 cars: from 0.99 on
834 have a near-duplicate, in groups of at most 8; below 0.98 hundreds of one dealer's photographs join. The value in
between rather joins too many than leaks."""
_PLAIN = 1.0
"""Standard deviation of a thumbnail, in grey levels, up to which it is plain: compared by its colour alone."""
_SAME_COLOUR = 4.0
"""Difference of the mean colours, in grey levels, up to which two plain pictures are near-duplicates."""


def near_duplicate_groups(pixels: Tensor, *, threshold: float = _SAME_PICTURE) -> list[int]:
    """Group pictures that are connected by near-duplicates.

    Args:
        pixels: (N, 3, S, S) uint8.
        threshold: cosine of two centred 16 x 16 thumbnails from which on they are near-duplicates.

    Returns:
        The group of each picture: the lowest index among its members.
    """
    thumbnails, flipped = _thumbnails(pixels), _thumbnails(pixels.flip(-1))  # (N, 768)
    colours = _plain_colours(pixels)  # (N, 3)
    group = list(range(len(pixels)))

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    for start in range(0, len(pixels), 1024):
        block = thumbnails[start : start + 1024]  # (B, 768)
        alike = torch.maximum(block @ thumbnails.T, block @ flipped.T) > threshold  # (B, N)
        alike |= torch.cdist(colours[start : start + 1024], colours, p=torch.inf) <= _SAME_COLOUR  # NaN is never alike
        for row, column in alike.nonzero().tolist():
            low, high = sorted((root(start + row), root(column)))
            group[high] = low
    return [root(index) for index in range(len(pixels))]


def _thumbnails(pixels: Tensor) -> Tensor:
    """Reduce (N, 3, S, S) uint8 pictures to (N, 768) thumbnails, centred and of length 1; plain ones to zeros."""
    rows = []
    for block in pixels.split(512):
        small = F.interpolate(block.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area").flatten(1)  # (B, 768)
        centred = small - small.mean(dim=1, keepdim=True)
        rows.append(F.normalize(centred, dim=1) * (centred.std(dim=1, keepdim=True) > _PLAIN))
    return torch.cat(rows)


def _plain_colours(pixels: Tensor) -> Tensor:
    """Return the (N, 3) mean colours of plain pictures, and NaN for all others."""
    rows = []
    for block in pixels.split(512):
        channels = block.float().flatten(2)  # (B, 3, S * S)
        is_plain = channels.std(dim=2).amax(dim=1, keepdim=True) <= _PLAIN  # (B, 1)
        rows.append(channels.mean(dim=2).where(is_plain, torch.nan))
    return torch.cat(rows)
