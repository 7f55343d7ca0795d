"""Reduce a GIF to its screen, palette and frames.

Source: the GIF89a specification (CompuServe). Pillow joins the blocks of a comment one by one, which takes quadratic
time, so comments and application extensions do not reach it.
"""

from typing import Final

from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_gif"]

_MAX_BLOCKS: Final = 50_000
_SCREEN: Final = 13  # bytes of signature and logical screen descriptor
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL: Final = b"\xf9"
_CONTROL_BYTES: Final = 4  # flags, delay, transparent index


def reduce_gif(data: bytes, max_pixels: int) -> Reduced:
    """Drop the extensions before the first frame of a GIF, except for the one that states its transparent index.

    Args:
        data: The file.
        max_pixels: Not used: what a GIF costs is bounded by its own size and by the size that it declares.

    Returns:
        The GIF. The format has no orientation.

    Raises:
        RefusedError: There are more blocks before the first frame than an encoder writes.
    """
    del max_pixels
    flags = data[10] if len(data) > 10 else 0
    position = _SCREEN + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    head, control, in_extension = data[:position], b"", False
    for _ in range(_MAX_BLOCKS):
        byte = data[position] if position < len(data) else _TRAILER
        if in_extension and position < len(data):
            position += 1 + byte
            in_extension = byte != 0
        elif byte in (_IMAGE, _TRAILER):
            return Reduced(b"".join([head, control, memoryview(data)[position:]]))
        elif byte == _EXTENSION:
            label, block = data[position + 1 : position + 2], data[position + 3 : position + 3 + _CONTROL_BYTES]
            if label == _GRAPHIC_CONTROL and len(block) == _CONTROL_BYTES:
                control = bytes([_EXTENSION]) + label + bytes([_CONTROL_BYTES]) + block + b"\0"
            position += 2
            in_extension = True
        else:  # a stray byte is skipped, as by Pillow
            position += 1
    raise RefusedError("is a GIF of more blocks than it needs. Save it again as PNG.")
