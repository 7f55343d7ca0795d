"""Group near-duplicates: pictures whose thumbnails, or mirrored thumbnails, are almost the same."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = ["near_duplicate_groups", "near_duplicates_of", "picture_groups"]

_BLOCK = 1024
_THUMBNAIL = 16
_SQUARE = 64
_SAME_PICTURE = 0.985
"""Cosine of two centred thumbnails from which on two photographs count as one. Measured on the 7,600 cars: from 0.99 on
834 have a near-duplicate, in groups of at most 8; below 0.98 hundreds of one dealer's photographs join. The value in
between rather joins too many than leaks."""
_PLAIN = 1.0
"""Standard deviation of a picture, in grey levels, up to which it is plain: it is compared by its colour alone."""
_SAME_COLOUR = 4.0
"""Difference of the mean colours, in grey levels, up to which two plain pictures are near-duplicates."""


def near_duplicate_groups(pixels: Tensor, *, threshold: float = _SAME_PICTURE) -> list[int]:
    """Group square pictures of one size that are connected by near-duplicates.

    Args:
        pixels: (N, 3, S, S) uint8.
        threshold: cosine of two centred 16 x 16 thumbnails from which on they are near-duplicates.

    Returns:
        The group of each picture: the lowest index among its members.
    """
    thumbnails, flipped = _thumbnails(pixels), _thumbnails(pixels.flip(-1))  # (N, 768)
    groups = torch.arange(len(pixels))  # (N,)
    for start in range(0, len(pixels), _BLOCK):
        block = thumbnails[start : start + _BLOCK]  # (B, 768)
        # Both products are symmetric: a block needs no columns before it.
        alike = torch.maximum(block @ thumbnails[start:].T, block @ flipped[start:].T) > threshold  # (B, N - start)
        _join(groups, alike, torch.arange(start, start + len(block)), torch.arange(start, len(pixels)))
    plain, colours = _plain_pictures(pixels)  # (P,), (P, 3)
    for start in range(0, len(plain), _BLOCK):
        distances = torch.cdist(colours[start : start + _BLOCK], colours, p=torch.inf)  # (B, P)
        _join(groups, distances <= _SAME_COLOUR, plain[start : start + _BLOCK], plain)
    found: list[int] = groups.tolist()
    return found


def near_duplicates_of(pixels: Tensor, others: Tensor) -> Tensor:
    """Return which of some pictures are near-duplicates of one.

    Args:
        pixels: (3, S, S) uint8.
        others: (N, 3, S, S) uint8.

    Returns:
        (N,) bool. Pictures that are connected by a third one alone are not among them.
    """
    views = torch.cat([_thumbnails(pixels[None]), _thumbnails(pixels.flip(-1)[None])])  # (2, 768)
    alike = (_thumbnails(others) @ views.T).amax(dim=1) > _SAME_PICTURE  # (N,)
    plain, colours = _plain_pictures(torch.cat([pixels[None], others]))  # (P,), (P, 3)
    if len(plain) and plain[0] == 0:
        alike[plain[1:] - 1] = (colours[1:] - colours[0]).abs().amax(dim=1) <= _SAME_COLOUR
    return alike


def _join(groups: Tensor, alike: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Join the groups of pictures that are alike, in place.

    Args:
        groups: (N,) lowest index of each picture's group.
        alike: (B, C) bool.
        rows: (B,) indices of the pictures of the rows.
        columns: (C,) indices of the pictures of the columns.
    """
    for row in (alike.sum(dim=1) > 1).nonzero()[:, 0].tolist():  # a picture is like itself
        members = torch.cat([columns[alike[row]], rows[row : row + 1]])
        joined = groups[members].unique()
        if len(joined) > 1:
            groups[torch.isin(groups, joined)] = joined[0].clone()


def _thumbnails(pixels: Tensor) -> Tensor:
    """Reduce (N, 3, S, S) uint8 pictures to (N, 768) thumbnails, centred and of length 1; plain ones to zeros."""
    rows = []
    for block in pixels.split(512):
        small = F.interpolate(block.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area").flatten(1)  # (B, 768)
        centred = small - small.mean(dim=1, keepdim=True)
        rows.append(F.normalize(centred, dim=1) * (centred.std(dim=1, keepdim=True) > _PLAIN))
    return torch.cat(rows)


def _plain_pictures(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the P pictures of one colour among (N, 3, S, S) uint8: their (P,) indices and (P, 3) mean colours."""
    means, spreads = [], []
    for block in pixels.split(512):
        channels = block.float().flatten(2)  # (B, 3, S * S)
        means.append(channels.mean(dim=2))
        spreads.append(channels.std(dim=2, correction=0).amax(dim=1))
    plain = (torch.cat(spreads) <= _PLAIN).nonzero()[:, 0]
    return plain, torch.cat(means)[plain]


def picture_groups(pictures: Sequence[Image.Image], *, threshold: float = _SAME_PICTURE) -> list[int]:
    """Group pictures of any size that are connected by near-duplicates.

    Args:
        pictures: RGB pictures.
        threshold: as in `near_duplicate_groups`: cosine of two thumbnails from which on they are near-duplicates.

    Returns:
        The group of each picture: the lowest index among its members.
    """
    if not pictures:
        return []
    size = (_SQUARE, _SQUARE)
    squares = [np.array(picture.resize(size, Image.Resampling.BOX, reducing_gap=2)) for picture in pictures]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)  # (N, 3, S, S)
    return near_duplicate_groups(pixels, threshold=threshold)
