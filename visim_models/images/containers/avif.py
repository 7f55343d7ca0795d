"""Reduce an AVIF to the items of its picture, and check how large the frames in them are.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (items) and the AV1 Image File Format. Offsets in the file are absolute, so
boxes are blanked where they are: a film becomes free space, and metadata an item that no reader looks for.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from visim_models.images.containers.av1 import frames
from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_avif"]

_MAX_BOXES: Final = 1_000  # at the top, in "meta", and properties
_MAX_TABLE: Final = 65_536  # bytes of a box that lists items; libavif compares each entry with all items
_MAX_ITEMS: Final = 1_000  # a grid has up to about 200
_MAX_BYTES: Final = 16 * 2**20  # of all pictures; decoding AV1 takes about 80 ns a byte
_PIXEL_SHARE: Final = 2  # an AVIF may have half of `max_pixels`
_MEMORY: Final = 4  # bytes of all frames together for each pixel of `max_pixels`: 12-bit colour and alpha, once
_SLACK: Final = 2**20  # so that a caller's small `max_pixels` does not refuse ordinary small files
_LISTS: Final = (b"iloc", b"iinf", b"iref", b"iprp", b"idat", b"pitm")
_METADATA: Final = (b"Exif", b"mime")
_DAMAGED: Final = "is a damaged AVIF. Save it again as AVIF, JPEG or PNG."
_TOO_LARGE: Final = "is an AVIF whose frames are too large or too many. Save it again as AVIF, JPEG or PNG."


class _Box(NamedTuple):
    kind: bytes
    start: int
    body: int
    end: int


def reduce_avif(data: bytes, max_pixels: int) -> Reduced:
    """Blank everything in an AVIF but its still picture.

    Args:
        data: The file.
        max_pixels: Twice the largest width x height that a frame may have.

    Returns:
        The AVIF. It states its orientation by the properties irot and imir alone, which libavif reports.

    Raises:
        RefusedError: It is damaged, has no still picture, lists more items than one needs, or its AV1 frames are
            larger or more than the limit, whatever size the container states.
    """
    blanked = bytearray(data)
    try:
        meta = None
        for box in _boxes(data, 0, len(data)):
            if box.kind == b"ftyp" and box.start == 0:
                brands = (box.end - box.body) // 4
                blanked[box.body : box.body + 4 * brands] = b"avif" * brands  # "avis" would ask for the film
            elif box.kind == b"meta" and meta is None:
                meta = box
            elif box.kind != b"mdat":
                blanked[box.start + 4 : box.start + 8] = b"free"
        if meta is None:
            raise RefusedError("is an AVIF without a still picture. Save one frame as JPEG or PNG.")
        _reduce_meta(data, blanked, meta, max_pixels)
    except RefusedError:
        raise
    except (struct.error, ValueError, IndexError) as error:
        raise RefusedError(_DAMAGED) from error
    return Reduced(bytes(blanked))


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two indices."""
    for _ in range(_MAX_BOXES):
        if start >= end:
            return
        size, kind = struct.unpack_from(">L4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0 and end == len(data):  # to the end of the file
            size = end - start
        if kind == b"uuid":
            body += 16
        if body > start + size or start + size > end:
            raise RefusedError(_DAMAGED)
        yield _Box(kind, start, body, start + size)
        start += size
    raise RefusedError(_DAMAGED)


def _reduce_meta(data: bytes, blanked: bytearray, meta: _Box, max_pixels: int) -> None:
    """Blank the items of metadata, and check the lists of items and the frames of each picture."""
    lists: dict[bytes, _Box] = {}
    for box in _boxes(data, meta.body + 4, meta.end):
        if box.kind in lists:
            raise RefusedError(_DAMAGED)
        if box.kind in _LISTS:
            lists[box.kind] = box
    tables = [lists[kind] for kind in (b"iloc", b"iinf", b"iref") if kind in lists]
    for box in _boxes(data, lists[b"iprp"].body, lists[b"iprp"].end) if b"iprp" in lists else ():
        if box.kind == b"ipco":
            _check_sizes(data, box, max_pixels)
        else:
            tables.append(box)
    if sum(box.end - box.start for box in tables) > _MAX_TABLE or not {b"iloc", b"iinf"} <= set(lists):
        raise RefusedError(_DAMAGED)
    kinds = _kinds(data, blanked, lists[b"iinf"])
    inner = lists.get(b"idat", meta)
    compressed = memory = 0
    for item, content in _items(data, lists[b"iloc"], memoryview(data)[inner.body : inner.end]):
        kind = kinds.get(item)
        if kind == b"grid":
            width, height = struct.unpack_from(">4xLL" if content[1] & 1 else ">4xHH", content)
            _check_size(width, height, max_pixels)
        elif kind == b"av01":
            compressed += len(content)
            if compressed > _MAX_BYTES:
                raise RefusedError(f"is an AVIF of more than {_MAX_BYTES:,} bytes. Make the picture smaller.")
            for frame in frames(content):
                memory += frame.memory
                if frame.pixels * _PIXEL_SHARE > max_pixels or memory > _MEMORY * max_pixels + _SLACK:
                    raise RefusedError(_TOO_LARGE)


def _check_sizes(data: bytes, properties: _Box, max_pixels: int) -> None:
    """Check the sizes that the properties state: libavif scales a smaller frame up to its own."""
    for box in _boxes(data, properties.body, properties.end):
        if box.kind == b"ispe":
            width, height = struct.unpack_from(">LL", data, box.body + 4)
            _check_size(width, height, max_pixels)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height * _PIXEL_SHARE > max_pixels:
        raise RefusedError(
            f"is too large: {width} x {height} pixels, and the limit for an AVIF is "
            f"{max_pixels // _PIXEL_SHARE:,} pixels. Make the picture smaller and try again."
        )


def _kinds(data: bytes, blanked: bytearray, box: _Box) -> dict[int, bytes]:
    """Return the kind of each item by its number, and blank the kinds of those that are metadata."""
    kinds: dict[int, bytes] = {}
    start = box.body + (6 if data[box.body] == 0 else 8)  # after version, flags and the number of entries
    for entry in _boxes(data, start, box.end):
        version = data[entry.body]
        if entry.kind != b"infe" or version not in (2, 3):
            raise RefusedError(_DAMAGED)
        form = ">4xH2x4s" if version == 2 else ">4xL2x4s"
        number, kind = struct.unpack_from(form, data, entry.body)
        if kind in _METADATA:
            at = entry.body + struct.calcsize(form) - 4
            blanked[at : at + 4] = b"none"
        if kinds.setdefault(number, kind) != kind:
            raise RefusedError(_DAMAGED)
    return kinds


def _items(data: bytes, box: _Box, inner: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each item that "iloc" lists."""
    version, sizes, bases = struct.unpack_from(">B3xBB", data, box.body)
    if version > 2:
        raise RefusedError(_DAMAGED)
    fields = _Fields(data, box.body + 6, box.end)
    wide = 4 if version == 2 else 2
    numbers, total = set[int](), 0
    for _ in range(fields.read(wide)):
        number = fields.read(wide)
        method = fields.read(2) & 15 if version else 0
        fields.read(2)  # data_reference_index
        base = fields.read(bases >> 4)
        spans = []
        for _ in range(fields.read(2)):
            fields.read(bases & 15 if version else 0)
            spans.append((base + fields.read(sizes >> 4), fields.read(sizes & 15)))
        source = (memoryview(data), inner)[method]  # IndexError: of another item, which libavif does not read
        total += sum(length for _, length in spans)
        whole = all(0 < length <= len(source) - start for start, length in spans)
        if number in numbers or len(numbers) >= _MAX_ITEMS or total > 2 * len(data) or not whole:
            raise RefusedError(_DAMAGED)
        numbers.add(number)
        parts = [source[start : start + length] for start, length in spans]
        yield number, parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


class _Fields:
    """Read unsigned integers of a table one after another."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._table, self._position = memoryview(data)[start:end], 0

    def read(self, size: int) -> int:
        """Return the next `size` bytes as one number; none is 0."""
        part = self._table[self._position : self._position + size]
        if size not in (0, 2, 4, 8) or len(part) < size:
            raise ValueError("a table is cut off")
        self._position += size
        return int.from_bytes(part, "big")
