"""Hold the result of reducing a container, and the error that refuses one."""

from typing import NamedTuple

__all__ = ["Reduced", "RefusedError"]


class RefusedError(ValueError):
    """Refuse an image; the message completes the sentence that starts with the image's name."""


class Reduced(NamedTuple):
    """Hold the parts of a file that make pixels.

    Attributes:
        data: A file of the same format, without anything else.
        orientation: The orientation that the metadata states, 1 to 8 as in EXIF, or None where it states none.
        white_is_zero: Whether the samples are stored as a negative that the decoder does not invert.
    """

    data: bytes
    orientation: int | None = None
    white_is_zero: bool = False
