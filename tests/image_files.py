"""Image files put together by hand, byte by byte, for the tests of what reads them."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = [
    "BLUE",
    "FLAG",
    "FLAG_LOSSY",
    "GREEN",
    "RED",
    "WHITE",
    "Colour",
    "Picture",
    "Upload",
    "after_soi",
    "bmp",
    "chunk",
    "encoded",
    "exif_block",
    "png",
    "quadrants",
    "segment",
    "tiff",
    "webp",
]

Colour = tuple[int, int, int]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


class Picture(NamedTuple):
    """State what an upright picture must be: its size, and the colours of its quadrants, row by row."""

    size: tuple[int, int]
    colours: tuple[Colour, Colour, Colour, Colour]
    tolerance: int = 0


class Upload(NamedTuple):
    """Hold one upload: the bytes, and the picture that must come of them, or None for an ImageDecodeError."""

    name: str
    data: bytes
    picture: Picture | None


FLAG = Picture((24, 16), (RED, GREEN, BLUE, WHITE))
FLAG_LOSSY = FLAG._replace(tolerance=12)


def quadrants(colours: tuple[Colour, ...] = FLAG.colours, size: tuple[int, int] = FLAG.size) -> Image.Image:
    """Return an image of four even quadrants."""
    pixels = np.array(colours, np.uint8).reshape(2, 2, 3)
    pixels = pixels.repeat(size[1] // 2, axis=0).repeat(size[0] // 2, axis=1)  # (H, W, 3)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return the bytes of a file of that form."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif_block(tags: Sequence[tuple[int, int, int, int]], region: bytes = b"") -> bytes:
    """Return EXIF without its prefix: `tags` are (tag, type, count, value or offset), `region` follows them.

    The region starts at index 14 + 12 * len(tags).
    """
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    return struct.pack("<2sHLH", b"II", 42, 8, len(tags)) + entries + bytes(4) + region


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b"", level: int = -1
) -> bytes:
    """Return a PNG: `rows` are the filtered rows, `extra` whole chunks before them."""
    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows, level))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def tiff(
    width: int,
    height: int,
    pixels: bytes,
    *,
    bits: int = 8,
    kind: int = 1,
    tags: dict[int, int] | None = None,
    more: Sequence[tuple[int, int, int, int | None]] = (),
    region: bytes = b"",
) -> bytes:
    """Return a little-endian TIFF of one strip and one sample a pixel.

    Args:
        width: of the picture.
        height: of the picture.
        pixels: the strip, at index 8.
        bits: of a sample.
        kind: 1 unsigned, 2 signed, 3 float.
        tags: further or other values of type LONG.
        more: further or other tags (tag, type, count, value); for the value None, the index of `region`.
        region: bytes after the directory.
    """
    values = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    values |= {339: kind} | (tags or {})
    start = 8 + len(pixels) + len(pixels) % 2
    entries: list[tuple[int, int, int, int | None]] = [(tag, 4, 1, value) for tag, value in values.items()]
    entries = sorted([entry for entry in entries if entry[0] not in {tag[0] for tag in more}] + list(more))
    end = start + 2 + 12 * len(entries) + 4
    table = b"".join(struct.pack("<HHLL", *entry[:3], end if entry[3] is None else entry[3]) for entry in entries)
    body = pixels.ljust(start - 8, b"\0")
    return struct.pack("<2sHL", b"II", 42, start) + body + struct.pack("<H", len(entries)) + table + bytes(4) + region


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def after_soi(jpeg: bytes, segments: bytes) -> bytes:
    """Return the JPEG with further segments at its start."""
    return jpeg[:2] + segments + jpeg[2:]


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of these chunks."""
    body = b"".join(
        kind + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


def bmp(width: int, height: int, data: bytes, *, compression: int) -> bytes:
    """Return a BMP of 256 colours that is run-length encoded (1: RLE8), or of 16 (2: RLE4)."""
    bits = {1: 8, 2: 4}[compression]
    palette = b"".join(bytes((index, 0, 255 - index, 0)) for index in range(1 << bits))
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, compression, len(data), 0, 0, 1 << bits, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + header + palette + data
