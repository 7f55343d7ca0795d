"""Pictures as PNG files, and tiny ones enlarged."""

import io

from PIL import Image

__all__ = ["enlarged", "png_bytes"]


def png_bytes(picture: Image.Image) -> bytes:
    """Encode a picture as a PNG file, quick to write rather than small."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: Image.Image, *, side: int = 192) -> Image.Image:
    """Repeat the pixels of a tiny picture until it is about `side` wide, so that they stay crisp; others are unchanged.

    Args:
        picture: of any size.
        side: the least that the longer side shall have, in pixels; it is met within one factor of repetition.
    """
    factor = side // max(picture.size)
    if factor < 2:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
