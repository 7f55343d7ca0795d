"""Reduce a WebP to its picture, or to its first frame.

Source: RFC 9649, section 2 (the container).
"""

import struct
from collections.abc import Iterator
from typing import Final

from visim_models.images.containers.orientation import MAX_METADATA, exif_orientation, xmp_orientation
from visim_models.images.containers.reduced import Reduced, RefusedError
from visim_models.images.containers.vp8l import check_vp8l

__all__ = ["reduce_webp"]

_MAX_CHUNKS: Final = 50_000
_HEADER: Final = 12  # bytes: "RIFF", size, "WEBP"
_ALPHA, _ANIMATION = 0x10, 0x02  # flags of VP8X
_FRAME_HEADER: Final = 16  # bytes of an ANMF chunk before its own chunks
_STILL: Final = (b"ALPH", b"VP8 ", b"VP8L")
_ANIMATED: Final = (b"ANIM", b"ANMF")


def reduce_webp(data: bytes, max_pixels: int) -> Reduced:
    """Drop metadata, colour profile and all frames but the first from a WebP.

    Args:
        data: The file.
        max_pixels: Not used: what a WebP costs is bounded by the size that it declares, and by `check_vp8l`.

    Returns:
        The WebP, and the orientation of its EXIF chunk, or else of its XMP chunk.

    Raises:
        RefusedError: It is cut off, has more chunks than an encoder writes, or a costly lossless stream.
    """
    del max_pixels
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    first = dict[bytes, memoryview]()
    for kind, content in _chunks(memoryview(data)[_HEADER:end]):
        first.setdefault(kind, content)
    extended = bytes(first.get(b"VP8X", b""))
    animated = bool(extended) and bool(extended[0] & _ANIMATION)
    kept: dict[bytes, memoryview] = {kind: first[kind] for kind in (_ANIMATED if animated else _STILL) if kind in first}
    _check_lossless(kept, _canvas(extended[4:10]))
    parts = [_chunk(kind, content) for kind, content in kept.items()]
    if extended:
        flags = extended[0] & (_ALPHA | _ANIMATION)
        parts.insert(0, _chunk(b"VP8X", bytes([flags]) + extended[1:]))
    body = b"WEBP" + b"".join(parts)
    exif = exif_orientation(bytes(first.get(b"EXIF", b"")[:MAX_METADATA]))
    orientation = exif or xmp_orientation(bytes(first.get(b"XMP ", b"")[:MAX_METADATA]))
    return Reduced(b"RIFF" + struct.pack("<L", len(body)) + body, orientation)


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and content of each chunk."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            return
        kind, length = struct.unpack_from("<4sL", view, position)
        content = view[position + 8 : position + 8 + length]
        if len(content) < length:
            raise RefusedError("is a WebP that is cut off. Save it again as WebP or PNG.")
        yield kind, content
        position += 8 + length + length % 2
    raise RefusedError("is a WebP of more chunks than it needs. Save it again as WebP or PNG.")


def _chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    return b"".join([kind, struct.pack("<L", len(content)), content, b"\0" * (len(content) % 2)])


def _canvas(sides: bytes) -> tuple[int, int]:
    """Return width and height from their three bytes each, less one."""
    return 1 + int.from_bytes(sides[:3], "little"), 1 + int.from_bytes(sides[3:], "little")


def _check_lossless(chunks: dict[bytes, memoryview], size: tuple[int, int]) -> None:
    """Check the lossless streams among the chunks, within a frame too."""
    for kind, content in chunks.items():
        if kind == b"VP8L":
            check_vp8l(content)
        elif kind == b"ALPH" and len(content) and content[0] & 3 == 1:  # compression method: lossless
            check_vp8l(content[1:], size)
        elif kind == b"ANMF":
            _check_lossless(dict(_chunks(content[_FRAME_HEADER:])), _canvas(bytes(content[6:12])))
