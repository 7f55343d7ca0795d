"""A picture with light on the parts that matter."""

from typing import Any

from PIL import Image

__all__ = ["highlighted"]

_SIDE = 480
_DARK = 0.35
_SPREAD = 0.6
"""Below 1, so that a part that matters half as much as the most important one is more than half lit."""


def highlighted(picture: Image.Image, heat: Any) -> Image.Image:
    """Return a small copy of a picture that is grey and dark except where `heat` is high.

    Args:
        picture: any picture.
        heat: (S, S) floats in [0, 1] over the whole picture.
    """
    lit = picture.convert("RGB")
    if max(lit.size) < _SIDE:
        factor = _SIDE / max(lit.size)
        lit = lit.resize((round(lit.width * factor), round(lit.height * factor)), Image.Resampling.NEAREST)
    lit.thumbnail((_SIDE, _SIDE))
    unlit = lit.convert("L").point(lambda value: value * _DARK).convert("RGB")
    mask = Image.fromarray((255 * heat**_SPREAD).astype("uint8")).resize(lit.size, Image.Resampling.BICUBIC)
    return Image.composite(lit, unlit, mask)
