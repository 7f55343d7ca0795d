"""Tell what of a picture is outside another that shows the same: content, or plain margins like bars and frames."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Box", "Extent", "Side", "sampled"]

Floats = npt.NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, each from 0 to 1."""
Side: TypeAlias = Literal["first", "second"]

_EXTENT: Final = 0.015
_PLAIN_MARGIN: Final = 0.55


def sampled(image: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Return a part of a picture at another size, to a fraction of a pixel."""
    width, height = image.size
    left, top, right, bottom = (
        min(max(edge, 0.0), 1.0) * length for edge, length in zip(box, (width, height) * 2, strict=True)
    )
    return image.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=None)


@dataclass(frozen=True)
class Extent:
    """What of the one picture is outside the other.

    Attributes:
        part: which shows a part of the other only.
        added: which has plain margins that the other lacks: bars, a frame, a caption.
        least: the smaller share of what both show, of what each shows.
    """

    part: Side | None
    added: Side | None
    least: float

    @classmethod
    def of(cls, first: Image.Image, second: Image.Image, inside: Box, outside: Box) -> "Extent":
        content, plain = zip(
            *(_margins(image, box) for image, box in ((first, inside), (second, outside))), strict=True
        )
        part: Side | None = None
        if max(content) > _EXTENT:
            part = "second" if content[0] > content[1] else "first"
        added: Side | None = None
        if max(plain) > _EXTENT and min(plain) <= _EXTENT:
            added = "first" if plain[0] > plain[1] else "second"
        return cls(part, added, 1 - max(content))


def _margins(image: Image.Image, box: Box) -> tuple[float, float]:
    """Return the shares of a picture that are outside a part of it: of content, and of plain margins.

    A plain strip that goes on from the ground of the part may be either, and counts as neither.
    """
    left, top, right, bottom = box
    strips = ((0.0, 0.0, 1.0, top), (0.0, bottom, 1.0, 1.0), (0.0, top, left, bottom), (right, top, 1.0, bottom))
    content, plain = 0.0, 0.0
    for strip in strips:
        share = (strip[2] - strip[0]) * (strip[3] - strip[1])
        if share * image.width * image.height < 8 or share < 0.002:
            continue
        size = (
            max(round((strip[2] - strip[0]) * min(image.width, 256)), 1),
            max(round((strip[3] - strip[1]) * min(image.height, 256)), 1),
        )
        levels = np.asarray(sampled(image, strip, size), np.float32).reshape(-1, 3)
        middle = np.median(levels, axis=0)
        is_plain = float((np.abs(levels - middle).max(axis=1) < 14).mean()) > _PLAIN_MARGIN
        if not is_plain:
            content += share
        elif not _goes_on(image, strip, box):
            plain += share
    return content, plain


def _goes_on(image: Image.Image, strip: Box, box: Box) -> bool:
    """Return whether the ground of a part of a picture goes on in a strip beside it: then the strip is no frame."""
    across = strip[2] - strip[0] >= box[2] - box[0] - 1e-6  # above or below
    step = 0.012
    if across:
        edge = box[1] if strip[3] <= box[1] + 1e-6 else box[3]
        lines = [(box[0], edge + near * step - step / 2, box[2], edge + near * step + step / 2) for near in (-1.5, 1.5)]
    else:
        edge = box[0] if strip[2] <= box[0] + 1e-6 else box[2]
        lines = [(edge + near * step - step / 2, box[1], edge + near * step + step / 2, box[3]) for near in (-1.5, 1.5)]
    size = (64, 1) if across else (1, 64)
    one, two = (np.asarray(sampled(image, line, size), np.float32).reshape(-1, 3) for line in lines)
    return float((np.abs(one - two).max(axis=1) < 12).mean()) > 0.7
