"""From any bytes, path, array or PIL image to an upright sRGB picture, or an `ImageDecodeError`."""

from visim_models.images.decode import MAX_BYTES, MAX_PIXELS, ImageSource, decode_image
from visim_models.images.kinds import TOO_LARGE

__all__ = ["MAX_BYTES", "MAX_PIXELS", "TOO_LARGE", "ImageSource", "decode_image"]
