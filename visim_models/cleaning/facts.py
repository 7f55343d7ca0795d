"""What is measured of a picture's file to choose the best of a group, and to find blank, tiny and odd-shaped ones."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.cleaning.alignment import THUMBNAIL

__all__ = ["PictureFacts", "facts_of"]

_SHARPNESS_SIDE: Final = 256
"""Longest side at which sharpness is measured, so that pictures of different sizes can be compared."""


@dataclass(frozen=True)
class PictureFacts:
    """The facts of one picture.

    Attributes:
        width: in pixels, upright.
        height: in pixels.
        size: of the file, in bytes.
        sharpness: variance of the Laplacian of the grey levels, at a longest side of 256 pixels at most.
        spread: standard deviation of its colours, in grey levels: that of the channel that has the most.
        thumbnail: (32, 32, 3) uint8, its sides scaled apart.
    """

    width: int
    height: int
    size: int
    sharpness: float
    spread: float
    thumbnail: npt.NDArray[np.uint8]


def facts_of(image: Image.Image, size: int) -> PictureFacts:
    """Measure an upright RGB picture.

    Args:
        image: the picture.
        size: of its file, in bytes.
    """
    small = image
    if max(image.size) > _SHARPNESS_SIDE:
        small = image.copy()
        small.thumbnail((_SHARPNESS_SIDE, _SHARPNESS_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    thumbnail = np.array(small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))  # (32, 32, 3)
    levels = np.asarray(small).reshape(-1, 3)  # (P, 3)
    return PictureFacts(
        image.width,
        image.height,
        size,
        _sharpness(np.asarray(small.convert("L"), np.float32)),
        float(levels.std(axis=0, dtype=np.float32).max()),
        thumbnail,
    )


def _sharpness(grey: npt.NDArray[np.float32]) -> float:
    """Return the variance of the Laplacian of (H, W) grey levels; 0 where there is no pixel with four neighbours."""
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle  # (H - 2, W - 2)
    return float(laplacian.var())
