"""Group near-duplicates: pictures whose thumbnails, or mirrored thumbnails, are almost the same.

This is the one quick measure of near-duplicates: splits, calibration and the page use it, each with a threshold of its
own. `visim clean` compares far more closely before it proposes to remove a file (`visim_models.cleaning.comparison`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["SAME_PHOTOGRAPH", "area_scaled", "near_duplicate_groups", "near_duplicates_of", "picture_groups"]

SAME_PHOTOGRAPH: Final = 0.985
"""Threshold that keeps near-duplicates on one side of a split. Measured on the 7,600 cars: from 0.99 on 834 have a
near-duplicate, in groups of at most 8; below 0.98 hundreds of one dealer's photographs join. The value in between
rather joins too many than leaks."""

_BLOCK: Final = 1024
_THUMBNAIL: Final = 16
_SQUARE: Final = 64
_PLAIN: Final = 1.0
"""Standard deviation of a picture, in grey levels, up to which it is plain: it is compared by its colour alone."""
_SAME_COLOUR: Final = 4.0
"""Difference of the mean colours, in grey levels, up to which two plain pictures are near-duplicates."""

_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.int64]


def near_duplicate_groups(pixels: _Pixels, *, threshold: float) -> list[int]:
    """Group square pictures of one size that are connected by near-duplicates.

    Args:
        pixels: (N, 3, S, S) uint8.
        threshold: cosine of two centred 16 x 16 thumbnails from which on they are near-duplicates, such as
            `SAME_PHOTOGRAPH`.

    Returns:
        The group of each picture: the lowest index among its members.
    """
    thumbnails, flipped = _thumbnails(pixels), _thumbnails(pixels[..., ::-1])  # (N, 768)
    groups = np.arange(len(pixels))  # (N,)
    for start in range(0, len(pixels), _BLOCK):
        block = thumbnails[start : start + _BLOCK]  # (B, 768)
        # Both products are symmetric: a block needs no columns before it.
        alike = np.maximum(block @ thumbnails[start:].T, block @ flipped[start:].T) > threshold  # (B, N - start)
        _join(groups, alike, np.arange(start, start + len(block)), np.arange(start, len(pixels)))
    plain, colours = _plain_pictures(pixels)  # (P,), (P, 3)
    for start in range(0, len(plain), _BLOCK):
        distances = np.abs(colours[start : start + _BLOCK, None] - colours).max(axis=2)  # (B, P)
        _join(groups, distances <= _SAME_COLOUR, plain[start : start + _BLOCK], plain)
    found: list[int] = groups.tolist()
    return found


def near_duplicates_of(pixels: _Pixels, others: _Pixels, *, threshold: float) -> npt.NDArray[np.bool_]:
    """Return which of some pictures are near-duplicates of one.

    Args:
        pixels: (3, S, S) uint8.
        others: (N, 3, S, S) uint8.
        threshold: as in `near_duplicate_groups`.

    Returns:
        (N,) bool. Pictures that are connected by a third one alone are not among them.
    """
    views = np.concatenate([_thumbnails(pixels[None]), _thumbnails(pixels[None, ..., ::-1])])  # (2, 768)
    alike: npt.NDArray[np.bool_] = (_thumbnails(others) @ views.T).max(axis=1) > threshold  # (N,)
    plain, colours = _plain_pictures(np.concatenate([pixels[None], others]))  # (P,), (P, 3)
    if len(plain) and plain[0] == 0:
        alike[plain[1:] - 1] = np.abs(colours[1:] - colours[0]).max(axis=1) <= _SAME_COLOUR
    return alike


def picture_groups(pictures: Sequence[Image.Image], *, threshold: float) -> list[int]:
    """Group pictures of any size that are connected by near-duplicates.

    Args:
        pictures: RGB pictures.
        threshold: as in `near_duplicate_groups`.

    Returns:
        The group of each picture: the lowest index among its members.
    """
    if not pictures:
        return []
    size = (_SQUARE, _SQUARE)
    squares = [np.array(picture.resize(size, Image.Resampling.BOX, reducing_gap=2)) for picture in pictures]
    pixels = np.stack(squares).transpose(0, 3, 1, 2)  # (N, 3, S, S)
    return near_duplicate_groups(pixels, threshold=threshold)


def area_scaled(pixels: npt.NDArray[np.uint8] | _Floats, size: int) -> _Floats:
    """Scale (..., S, S) levels to (..., size, size) float32: each pixel is the mean of those that it covers."""
    side = pixels.shape[-1]
    if side == size:
        return pixels.astype(np.float32)
    steps = np.arange(size)
    starts, ends = steps * side // size, -(-(steps + 1) * side // size)
    places = np.arange(side)
    share = ((places >= starts[:, None]) & (places < ends[:, None])).astype(np.float32)  # (size, S)
    share /= share.sum(axis=1, keepdims=True)
    scaled: _Floats = share @ pixels.astype(np.float32) @ share.T  # (..., size, size)
    return scaled


def _join(groups: _Indices, alike: npt.NDArray[np.bool_], rows: _Indices, columns: _Indices) -> None:
    """Join the groups of pictures that are alike, in place.

    Args:
        groups: (N,) lowest index of each picture's group.
        alike: (B, C) bool.
        rows: (B,) indices of the pictures of the rows.
        columns: (C,) indices of the pictures of the columns.
    """
    for row in (alike.sum(axis=1) > 1).nonzero()[0]:  # a picture is like itself
        members = np.append(columns[alike[row]], rows[row])
        joined = np.unique(groups[members])
        if len(joined) > 1:
            groups[np.isin(groups, joined)] = joined[0]


def _thumbnails(pixels: _Pixels) -> _Floats:
    """Reduce (N, 3, S, S) uint8 pictures to (N, 768) thumbnails, centred and of length 1; plain ones to zeros."""
    rows = [np.empty((0, 3 * _THUMBNAIL**2), np.float32)]
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        small = area_scaled(block, _THUMBNAIL).reshape(len(block), -1)  # (B, 768)
        centred = small - small.mean(axis=1, keepdims=True)
        length = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))  # (B, 1)
        is_plain = length <= _PLAIN * np.sqrt(centred.shape[1] - 1)
        rows.append(np.where(is_plain, 0, centred / np.maximum(length, 1e-12)))
    return np.concatenate(rows)


def _plain_pictures(pixels: _Pixels) -> tuple[_Indices, _Floats]:
    """Find the P pictures of one colour among (N, 3, S, S) uint8: their (P,) indices and (P, 3) mean colours."""
    means, spreads = [np.empty((0, 3), np.float32)], [np.empty(0, np.float32)]
    for start in range(0, len(pixels), _BLOCK):
        channels = pixels[start : start + _BLOCK].astype(np.float32)
        channels = channels.reshape(len(channels), 3, -1)  # (B, 3, S * S)
        means.append(channels.mean(axis=2))
        spreads.append(channels.std(axis=2).max(axis=1))
    plain = (np.concatenate(spreads) <= _PLAIN).nonzero()[0]
    return plain, np.concatenate(means)[plain]
