"""Put AVIF files together from the AV1 streams that Pillow encodes: grids, and files that no encoder writes."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from tests.image_files import encoded

__all__ = ["Item", "av1", "avif", "box", "grid", "size_property"]

_TRANSFORMATIONS = (b"clap", b"irot", b"imir")
_CONTENT_TYPES = {b"mime": b"application/rdf+xml\0"}


class Item(NamedTuple):
    """Hold one item of an AVIF: its type, content and property boxes."""

    kind: bytes
    content: bytes
    properties: tuple[bytes, ...] = ()


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box."""
    body = b"".join(content)
    return struct.pack(">L4s", 8 + len(body), kind) + body


def size_property(width: int, height: int) -> bytes:
    """Return the box that states the size of an item."""
    return box(b"ispe", bytes(4), struct.pack(">LL", width, height))


def av1(image: Image.Image, stated: tuple[int, int] | None = None) -> Item:
    """Return an opaque image as an item, whose stated size may be another than its own."""
    data = encoded(image, "AVIF", quality=90, speed=10)
    start = data.index(b"av1C") - 4
    config = data[start : start + int.from_bytes(data[start : start + 4], "big")]
    stream = data[data.index(b"mdat") + 4 :]
    return Item(b"av01", stream, (size_property(*(stated or image.size)), config))


def grid(cells: Sequence[Item], columns: int, size: tuple[int, int], stated: tuple[int, int] | None = None) -> bytes:
    """Return an AVIF of cells side by side; its stated size may be another than the size that the grid has."""
    rows = len(cells) // columns
    content = struct.pack(">BBBBLL", 0, 1, rows - 1, columns - 1, *size)  # 32-bit sides
    whole = Item(b"grid", content, (size_property(*(stated or size)),))
    numbers = range(2, 2 + len(cells))
    reference = box(b"dimg", struct.pack(">HH", 1, len(cells)), struct.pack(f">{len(cells)}H", *numbers))
    return avif([whole, *cells], references=reference)


def avif(items: Sequence[Item], *, references: bytes = b"") -> bytes:
    """Return an AVIF of these items, numbered from 1; the first is the picture. Transformations are essential."""
    entries = b"".join(
        box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", number, 0, item.kind), b"\0", _CONTENT_TYPES.get(item.kind, b""))
        for number, item in enumerate(items, 1)
    )
    properties = b"".join(b"".join(item.properties) for item in items)
    associations, index = b"", 1
    for number, item in enumerate(items, 1):
        associations += struct.pack(">HB", number, len(item.properties))
        associations += bytes(
            place | 0x80 * (each[4:8] in _TRANSFORMATIONS) for place, each in enumerate(item.properties, index)
        )
        index += len(item.properties)
    tables = box(b"iprp", box(b"ipco", properties), box(b"ipma", bytes(4), struct.pack(">L", len(items)), associations))

    def meta(start: int) -> bytes:  # of contents that follow one another from this index
        locations = b""
        for number, item in enumerate(items, 1):
            locations += struct.pack(">HHHLL", number, 0, 1, start, len(item.content))
            start += len(item.content)
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), struct.pack(">H", 1)),
            box(b"iloc", bytes(4), b"\x44\0", struct.pack(">H", len(items)), locations),
            box(b"iinf", bytes(4), struct.pack(">H", len(items)), entries),
            *([box(b"iref", bytes(4), references)] if references else []),
            tables,
        )

    head = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(item.content for item in items))
