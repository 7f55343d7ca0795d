"""Convert a decoded image of any mode into RGB, and turn it upright.

The work is done in bands of about a megapixel, so that it takes no more memory than the image and its result.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.images.containers.reduced import RefusedError

__all__ = ["to_rgb", "turned"]

_BAND: Final = 2**20  # pixels
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image, *, white_is_zero: bool = False) -> Image.Image:
    """Return a new image of mode RGB, with transparency laid over white.

    Args:
        image: An image of any mode, which is not changed. 16-bit greys are divided by 257; 32-bit integers are taken
            as 0..255 or 0..65535 if all values are within, else from smallest to largest; floats as 0..1 if all finite
            values are within, else from smallest to largest. NaN and -inf become the smallest value, inf the largest.
        white_is_zero: Whether these wide greys are a negative.

    Raises:
        RefusedError: All values of a float image are infinite or NaN.
    """
    rgb = Image.new("RGB", image.size, "white")
    wide = image.mode.startswith("I") or image.mode == "F"
    low, high = _range(image) if wide else (0.0, 0.0)
    for top, band in _bands(image):
        if wide:
            grey = _eight_bits(np.asarray(band), low, high)
            rgb.paste(Image.fromarray(255 - grey if white_is_zero else grey).convert("RGB"), (0, top))
        elif band.has_transparency_data:
            rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
            rgb.paste(rgba, (0, top), mask=rgba)
        else:
            rgb.paste(band.convert("RGB"), (0, top))
    return rgb


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image as it is to be seen.

    Args:
        image: The image as it is stored.
        orientation: EXIF's orientation, 1 to 8; any other value turns nothing.
    """
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield copies of the rows from the top down, each with the index of its first row."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        box = 0, top, image.width, min(top + rows, image.height)
        # Not crop(): it minds Image.MAX_IMAGE_PIXELS, which any library in the process may have changed.
        yield top, image.resize((image.width, box[3] - top), Image.Resampling.NEAREST, box=box)


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the values of a wide grey image that become black and white."""
    lows, highs = [], []
    for _, band in _bands(image):
        values = np.asarray(band)  # (H, W)
        finite = values[np.isfinite(values)]  # (N,)
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise RefusedError("has no finite value in it: there is no picture to see. Export it again.")
    low, high = min(lows), max(highs)
    spans = {"F": (1,), "I": (255, 65_535)}.get(image.mode, (65_535,))
    span = next((span for span in spans if low >= 0 and high <= span), None)
    return (low, high) if span is None else (0.0, float(span))


def _eight_bits(values: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return (H, W) values scaled from low..high to 0..255; where all are the same, black."""
    finite = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)  # (H, W)
    return np.rint((finite - low) / (high - low or 1.0) * 255).astype(np.uint8)
