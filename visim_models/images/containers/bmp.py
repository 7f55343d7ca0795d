"""Check a BMP that is run-length encoded; any other costs no more than its size."""

import struct
from typing import Final

from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_bmp"]

_HEAD: Final = 34  # bytes: the file header, and the other to its biCompression
_RUN_LENGTH: Final = (1, 2)  # values of biCompression: RLE8, RLE4
_CORE_HEADER: Final = 12  # bytes of the oldest header, which has no compression
_PIXEL_SHARE: Final = 5  # Pillow fills the rest of a row one pixel at a time, in Python


def reduce_bmp(data: bytes, max_pixels: int) -> Reduced:
    """Return a BMP as it is, unless its rows could be filled for seconds.

    Args:
        data: The file.
        max_pixels: Largest width x height that will be decoded; a run-length encoded BMP may have a fifth of them.

    Returns:
        The same bytes. The format has no orientation.

    Raises:
        RefusedError: It is run-length encoded and has too many pixels.
    """
    header, width, height, _, compression = struct.unpack_from("<5L", data[:_HEAD].ljust(_HEAD, b"\0"), 14)
    height = min(height, 2**32 - height)  # negative where the rows run from top to bottom
    if header != _CORE_HEADER and compression in _RUN_LENGTH and width * height * _PIXEL_SHARE > max_pixels:
        raise RefusedError(
            f"is a run-length encoded BMP of {width} x {height} pixels, and the limit for one is "
            f"{max_pixels // _PIXEL_SHARE:,} pixels. Save it again as PNG."
        )
    return Reduced(data)
