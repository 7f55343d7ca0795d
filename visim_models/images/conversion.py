"""Convert an opened picture into upright sRGB.

Greys of many bits and transparent pictures are converted in bands of about a megapixel, so that it takes no more memory
than the picture and its result.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.images.colour import ColourSpace, Curve
from visim_models.images.kinds import RefusedError
from visim_models.images.opening import Box, Opened

__all__ = ["to_srgb", "turned"]

_BAND: Final = 2**20  # pixels
_LEAST_BITS: Final = 8  # of a grey that is stretched
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_srgb(opened: Opened) -> Image.Image:
    """Return a new image of mode RGB in sRGB, with transparency laid over white, not turned yet.

    Args:
        opened: A picture whose pixels may not be decoded yet. Its greys of more than 8 bits are scaled from 0 to the
            largest value that they declare; where they use less than a fourth of that range, to the smallest depth, of
            8 bits or more, that holds them, or from their smallest to their largest. Floats are taken as 0..1 if all
            finite values are within, else from smallest to largest. NaN and -inf become the smallest value, inf the
            largest.

    Raises:
        RefusedError: All values of a float image are infinite or NaN.
    """
    (opened.load or opened.image.load)()
    has_curve = opened.space is not None and opened.space.profile is None
    if opened.wide is not None and (has_curve or opened.clear is not None):
        rgb = _from_wide(opened)
    elif opened.image.mode.startswith("I") or opened.image.mode == "F":
        rgb = _from_grey(opened)
    else:
        rgb = _from_eight_bits(opened.image, opened.space)
    if opened.crop is not None:
        rgb = _cut(rgb, opened.crop)
    if opened.box is not None:
        screen = Image.new("RGB", opened.size, "white")
        screen.paste(rgb, opened.box[:2])
        rgb = screen
    return rgb


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image upright.

    Args:
        image: The image as it is stored.
        orientation: EXIF's orientation, 1 to 8; any other value turns nothing.
    """
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _from_eight_bits(image: Image.Image, space: ColourSpace | None) -> Image.Image:
    """Return an image of any mode of 8 bits in sRGB."""
    if not image.has_transparency_data:
        return _opaque(image, space)
    rgb = Image.new("RGB", image.size, "white")
    for top, band in _bands(image):
        rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        rgb.paste(_opaque(rgba, space), (0, top), mask=rgba.getchannel("A"))
    return rgb


def _opaque(image: Image.Image, space: ColourSpace | None) -> Image.Image:
    """Return a new image of mode RGB in sRGB, without a look at transparency."""
    base = image if image.mode in ("L", "CMYK") and space is not None else image.convert("RGB")
    rgb = (space and space.converted(base)) or (image.convert("RGB") if base is image else base)
    rgb.info = {}
    return rgb


def _cut(image: Image.Image, box: Box) -> Image.Image:
    # Not crop(): it minds Image.MAX_IMAGE_PIXELS, which any library in the process may have changed.
    return image.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST, box=box)


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield copies of the rows from the top down, each with the index of its first row."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, _cut(image, (0, top, image.width, min(top + rows, image.height)))


def _from_wide(opened: Opened) -> Image.Image:
    """Return a picture of 16 bits a colour in sRGB."""
    assert opened.wide is not None
    samples = opened.wide()  # (H, W, C)
    colours = samples[..., :3]
    space = opened.space
    if space is not None and space.profile is None:
        curve = Curve(space, 65_536)
        rgb = np.concatenate([curve(colours[top : top + 256]) for top in range(0, len(colours), 256)])
    else:
        rgb = (colours >> 8).astype(np.uint8)
    image = Image.fromarray(rgb)
    if opened.clear is not None:
        image.paste("white", mask=Image.fromarray((colours == np.array(opened.clear)).all(-1)))
    elif samples.shape[2] == 4:
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=Image.fromarray((samples[..., 3] >> 8).astype(np.uint8)))
        return ground
    return image if space is None or space.profile is None else _opaque(image, space)


def _from_grey(opened: Opened) -> Image.Image:
    """Return a grey of more than 8 bits, or a float, in sRGB."""
    image, space = opened.image, opened.space
    curve = None if space is None or space.profile is not None else Curve(space, 65_536).table
    rgb = Image.new("RGB", image.size, "white")
    low, high = _range(opened)
    for top, band in _bands(image):
        values = _values(opened, band)  # (H, W)
        scaled = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        scaled = np.clip((scaled - low) / (high - low or 1.0), 0, 1)
        if opened.white_is_zero:
            scaled = 1 - scaled
        grey = np.rint(scaled * 255).astype(np.uint8) if curve is None else curve[np.rint(scaled * 65_535).astype(int)]
        shown = _opaque(Image.fromarray(grey), space if curve is None else None)
        mask = None if opened.clear is None else Image.fromarray(values != opened.clear)
        rgb.paste(shown, (0, top), mask)
    return rgb


def _values(opened: Opened, band: Image.Image) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(band)  # (H, W)
    return (values.view(np.uint32) if opened.is_unsigned else values).astype(np.float64)


def _range(opened: Opened) -> tuple[float, float]:
    """Return the values of a wide grey image that become black and white."""
    lows, highs = [], []
    for _, band in _bands(opened.image):
        values = _values(opened, band)
        finite = values[np.isfinite(values)]  # (N,)
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise RefusedError("has no finite value in it: there is no picture to see. Export it again.")
    low, high = min(lows), max(highs)
    if opened.image.mode == "F":
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    levels = opened.levels or 65_535
    if low < 0:
        return low, high
    if high < (levels + 1) / 4:
        return 0.0, float(2 ** max(int(high).bit_length(), _LEAST_BITS) - 1)
    return (low, high) if 0 < high - low < (levels + 1) / 4 else (0.0, float(levels))
