"""From any bytes, path, array or PIL image to an upright RGB picture, or an `ImageDecodeError`."""

from visim_models.images.decode import MAX_BYTES, MAX_PIXELS, TOO_LARGE, ImageSource, decode_image

__all__ = ["MAX_BYTES", "MAX_PIXELS", "TOO_LARGE", "ImageSource", "decode_image"]
