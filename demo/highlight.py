"""A picture with colour on the parts that matter, and the legend of the colours."""

from html import escape
from typing import Any

from PIL import Image

from demo.texts import say

__all__ = ["highlighted", "legend"]

_SIDE = 480
_LEAST_LEVEL = 12
"""Level of 255 from which a part is coloured: a tenth above the least heat."""
_LOW, _HIGH = 1.0, 3.0
"""Heat from which a part is coloured, and from which its colour is the strongest."""
_WEAK, _STRONG = (245, 158, 11), (220, 38, 38)
_MOST = 0.62
"""Share of the strongest colour; the rest is the picture."""


def highlighted(picture: Image.Image, heat: Any) -> Image.Image | None:
    """Return a small copy of a picture with colour where `heat` is well above 1; None where it nowhere is.

    Args:
        picture: any picture.
        heat: (S, S) floats over the whole picture, at least 0.
    """
    strength = ((heat - _LOW) / (_HIGH - _LOW)).clip(0, 1)
    levels = (255 * strength).astype("uint8")
    if levels.max() <= _LEAST_LEVEL:
        return None
    shown = picture.convert("RGB")
    if max(shown.size) < _SIDE:
        factor = _SIDE / max(shown.size)
        shown = shown.resize((round(shown.width * factor), round(shown.height * factor)), Image.Resampling.BICUBIC)
    shown.thumbnail((_SIDE, _SIDE))
    level = Image.fromarray(levels).resize(shown.size, Image.Resampling.BICUBIC)
    colour = Image.merge("RGB", [level.point(_ramp(*ends)) for ends in zip(_WEAK, _STRONG, strict=True)])
    # A part that is just above the limit is seen, too: the colour begins with 0.7 of its share.
    cover = level.point(
        [round(255 * _MOST * (value > _LEAST_LEVEL) * (0.7 + 0.3 * value / 255)) for value in range(256)]
    )
    return Image.composite(colour, shown, cover)


def _ramp(weak: int, strong: int) -> list[int]:
    return [round(weak + (strong - weak) * value / 255) for value in range(256)]


def legend() -> str:
    """Write the legend of the colours as HTML."""
    weak, strong = (f"rgb({red},{green},{blue})" for red, green, blue in (_WEAK, _STRONG))
    return (
        f'<p class="visim-legend"><span>{escape(say("legend_low"))}</span>'
        f'<i style="background:linear-gradient(to right,transparent,{weak},{strong})"></i>'
        f"<span>{escape(say('legend_high'))}</span></p>"
    )
