"""Reduce a PNG to its header, palette and pixels.

Source: the PNG specification, third edition (W3C), and its registered extensions. Text and colour profiles are
compressed, so a small file can hold gigabytes of them; none is unfolded here beyond `MAX_METADATA` bytes.
"""

import binascii
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from visim_models.images.containers.orientation import MAX_METADATA, exif_orientation, xmp_orientation
from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_png"]

_MAX_CHUNKS: Final = 100_000
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KIND: Final = re.compile(rb"[A-Za-z]{4}")
_HEAD: Final = frozenset({b"IHDR", b"PLTE", b"tRNS"})
_HEADER: Final = struct.Struct(">LLBB")  # width, height, bit depth, colour type
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_XMP, _RAW_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"  # keywords; the latter is ImageMagick's


def reduce_png(data: bytes, max_pixels: int) -> Reduced:
    """Drop every chunk of a PNG that makes no pixels; of an animation (APNG) the default image is kept.

    Args:
        data: The file.
        max_pixels: Not used: what a PNG costs is bounded by its own size and by the size that it declares.

    Returns:
        The PNG, and the orientation of its first eXIf chunk, else of EXIF in a text chunk, else of XMP.

    Raises:
        RefusedError: There are more chunks than an encoder writes, or more compressed bytes than pixels can need.
    """
    del max_pixels
    head, pixels, most = [_SIGNATURE], list[memoryview](), 0
    stated: dict[bytes, int | None] = {}
    for kind, chunk in _chunks(memoryview(data)):
        body = chunk[8:-4]
        if kind in _HEAD:
            head.append(bytes(chunk))
            most = max(most, _most_compressed(bytes(body))) if kind == b"IHDR" else most
        elif kind == b"IDAT":
            pixels.append(body)
        elif kind == b"eXIf":
            stated.setdefault(kind, exif_orientation(bytes(body[:MAX_METADATA])))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _note_text(kind, body, stated)
    if sum(map(len, pixels)) > most:
        raise RefusedError("is a PNG of more compressed bytes than its pixels can need. Save it again as PNG.")
    orientation = next((stated[key] for key in (b"eXIf", _RAW_EXIF, _XMP) if stated.get(key)), None)
    return Reduced(b"".join([*head, *_chunk(b"IDAT", pixels), *_chunk(b"IEND", [])]), orientation)


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the whole of each chunk before IEND; one that is cut off ends with the file."""
    position = len(_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        head = bytes(view[position : position + 8])
        if len(head) < 8 or head[4:] == b"IEND":
            return
        if not _KIND.fullmatch(head[4:]):
            raise RefusedError("is a damaged PNG: a chunk has no proper name. Save it again as PNG.")
        end = position + 12 + int.from_bytes(head[:4], "big")
        yield head[4:], view[position:end]
        position = end
    raise RefusedError("is a PNG of more chunks than it needs. Save it again as PNG.")


def _chunk(kind: bytes, parts: list[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the parts of one chunk that holds `parts` one after another."""
    check = zlib.crc32(kind)
    for part in parts:
        check = zlib.crc32(part, check)
    yield struct.pack(">L4s", sum(map(len, parts)), kind)
    yield from parts
    yield struct.pack(">L", check)


def _most_compressed(header: bytes) -> int:
    """Return how many compressed bytes the declared pixels can need, with room for poor encoders.

    A stream of millions of empty blocks takes seconds to follow and makes no pixel: the proportion rules it out.
    """
    if len(header) < 13:
        return 0
    width, height, depth, colour = _HEADER.unpack_from(header)
    rows = height * (1 + (width * depth * _CHANNELS.get(colour, 1) + 7) // 8)
    most: int = rows * 9 // 8 + 8 * height + 65_536  # Adam7 adds a few bytes a row
    return most


def _note_text(kind: bytes, body: memoryview, stated: dict[bytes, int | None]) -> None:
    """Add the orientation that a text chunk states to `stated`, under its keyword; the first of each counts."""
    keyword = bytes(body[:80]).partition(b"\0")[0]
    if keyword not in (_XMP, _RAW_EXIF) or keyword in stated:
        return
    text = bytes(body[len(keyword) + 1 : len(keyword) + 1 + 4 * MAX_METADATA])
    if kind == b"zTXt":  # compression method, text
        text = _unfolded(text[1:])
    elif kind == b"iTXt":  # compression flag and method, language, translated keyword, text
        compressed, parts = text[:1] != b"\0", text[2:].split(b"\0", 2)
        text = _unfolded(parts[-1]) if compressed else parts[-1]
    stated[keyword] = xmp_orientation(text) if keyword == _XMP else exif_orientation(_from_hexadecimal(text))


def _unfolded(compressed: bytes) -> bytes:
    """Return the first bytes of a compressed text, at most what hexadecimal digits of `MAX_METADATA` bytes need."""
    try:
        return zlib.decompressobj().decompress(compressed, 3 * MAX_METADATA)
    except zlib.error:
        return b""


def _from_hexadecimal(text: bytes) -> bytes:
    """Return the profile in ImageMagick's text: an empty line, its kind, its length, and lines of digits."""
    digits = b"".join(text.split(b"\n")[3:]).replace(b" ", b"")[: 2 * MAX_METADATA]
    try:
        return binascii.unhexlify(digits[: len(digits) // 2 * 2])
    except binascii.Error:
        return b""
