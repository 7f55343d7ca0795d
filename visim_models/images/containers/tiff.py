"""Reduce a TIFF to the tags of its first directory that make pixels.

Source: TIFF 6.0 (Adobe), with its technical notes 1 and 2. The strips and tiles remain where they are; a new directory
is added at the end, and the header made to point at it.
"""

import struct
from typing import Final, NamedTuple

from visim_models.images.containers.orientation import MAX_METADATA, xmp_orientation
from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_tiff"]

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES, _FORMAT, _XMP = 322, 323, 324, 325, 339, 700
_DECODING: Final = frozenset({266, 292, 293, 317, 320, 332, 338, 347, *range(512, 522), 529, 530, 531, 532})
_KEPT: Final = _DECODING | {
    *(_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR),
    *(_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES, _FORMAT),
}
_BYTE, _SHORT, _LONG = 1, 3, 4
_ENTRY: Final = 12  # bytes
_START_OF_SCAN: Final = b"\xff\xda"
_UNCOMPRESSED, _OLD_JPEG, _JPEG, _LZMA, _ZSTD = 1, 6, 7, 34925, 50000

_MAX_VALUES: Final = 200_000  # of one tag: a strip a row, or tiles of 16 x 16, stay below
_MAX_ALL_VALUES: Final = 450_000  # of all tags: offsets and sizes of so many strips
_MAX_LZMA: Final = 12 * 2**20  # bytes; it unpacks ten times more slowly than the others
_STRIP: Final = 6  # bytes of one strip or tile for each pixel of the largest picture
_FULL_SCANS: Final = 16  # of JPEG, over the largest picture
_SLACK: Final = 2**20  # so that a caller's small `max_pixels` does not refuse ordinary small files


class _Tag(NamedTuple):
    kind: int
    length: int  # number of values
    start: int  # of its 12 bytes


def reduce_tiff(data: bytes, max_pixels: int) -> Reduced:
    """Drop all but the first directory of a TIFF, and from it every tag that makes no pixels.

    Args:
        data: The file.
        max_pixels: Largest width x height that will be decoded; it scales the limits on tiles, strips and scans.

    Returns:
        The TIFF with the additional directory, the orientation of its tag or else of its XMP, and whether its samples
        are wide ones for which white is zero: Pillow reads these as if black were.

    Raises:
        RefusedError: The directory is cut off, or its tables, tiles, strips or scans are out of all proportion.
    """
    try:
        directory = _Directory(data)
    except struct.error as error:
        raise RefusedError("looks like a TIFF picture but is cut off. Save it again as PNG.") from error
    kept = {number: tag for number, tag in directory.tags.items() if number in _KEPT}
    for number, tag in kept.items():
        if tag.length > _MAX_VALUES:
            raise RefusedError(f"is a TIFF of {tag.length:,} values in tag {number}. Save it again as PNG.")
    if sum(tag.length for tag in kept.values()) > _MAX_ALL_VALUES:
        raise RefusedError("is a TIFF of more values in its tags than it needs. Save it again as PNG.")
    _check_layout(directory, max_pixels)
    negative = directory.value(_PHOTOMETRIC, 1) == 0 and directory.value(_BITS, 1) > 8
    entries = {number: data[tag.start : tag.start + _ENTRY] for number, tag in kept.items()}
    if negative:  # the other way round is the one that Pillow reads
        entries[_PHOTOMETRIC] = struct.pack(directory.endian + "HHLHH", _PHOTOMETRIC, _SHORT, 1, 1, 0)
    start = len(data) + len(data) % 2
    table = struct.pack(directory.endian + "H", len(entries)) + b"".join(entries.values()) + bytes(4)
    head = data[:4] + struct.pack(directory.endian + "L", start)
    reduced = b"".join([head, memoryview(data)[len(head) :], bytes(start - len(data)), table])
    return Reduced(reduced, directory.orientation(), negative)


class _Directory:
    """Look up the first directory of a TIFF; of a tag that is there twice, the first counts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.endian = "<" if data.startswith(b"II") else ">"
        self.tags: dict[int, _Tag] = {}
        (start,) = struct.unpack_from(self.endian + "L", data, 4)
        (entries,) = struct.unpack_from(self.endian + "H", data, start)
        struct.unpack_from(f"{_ENTRY * entries}x", data, start + 2)  # raises where it is cut off
        for position in range(start + 2, start + 2 + _ENTRY * entries, _ENTRY):
            number, kind, count = struct.unpack_from(self.endian + "HHL", data, position)
            self.tags.setdefault(number, _Tag(kind, count, position))

    def values(self, number: int) -> tuple[int, ...]:
        """Return the unsigned integers of a tag, none where it is missing.

        Raises:
            RefusedError: The tag has values of another type, or beyond the end of the file.
        """
        tag = self.tags.get(number)
        if tag is None:
            return ()
        letter = {_BYTE: "B", _SHORT: "H", _LONG: "L"}.get(tag.kind, "")
        try:
            form = f"{self.endian}{tag.length}{letter or 'x'}"
            start = tag.start + 8
            if struct.calcsize(form) > 4:
                (start,) = struct.unpack_from(self.endian + "L", self.data, start)
            values: tuple[int, ...] = struct.unpack_from(form, self.data, start)
        except struct.error:
            values = ()
        if not values:
            raise RefusedError(f"is a TIFF with a damaged tag {number}. Save it again as PNG.")
        return values

    def value(self, number: int, default: int) -> int:
        """Return the first value of a tag."""
        return next(iter(self.values(number)), default)

    def orientation(self) -> int | None:
        """Return the orientation of its own tag, 1 to 8, or else of the XMP, or None."""
        tag, xmp = self.tags.get(_ORIENTATION), self.tags.get(_XMP)
        if tag is not None:
            (value,) = struct.unpack_from(self.endian + ("L" if tag.kind == _LONG else "H"), self.data, tag.start + 8)
            return value if tag.kind in (_SHORT, _LONG) and 1 <= value <= 8 else 1
        if xmp is not None:
            (start,) = struct.unpack_from(self.endian + "L", self.data, xmp.start + 8)
            return xmp_orientation(self.data[start : start + min(xmp.length, MAX_METADATA)])
        return None


def _check_layout(directory: _Directory, max_pixels: int) -> None:
    """Refuse tiles, strips and scans that take more memory or time than the pixels need."""
    height = directory.value(_LENGTH, 0)
    tiled = _TILE_OFFSETS in directory.tags or _TILE_WIDTH in directory.tags
    if tiled:
        block = directory.value(_TILE_WIDTH, 1) * directory.value(_TILE_LENGTH, 1)
    else:
        block = directory.value(_WIDTH, 0) * min(directory.value(_ROWS, height), height)
    if block > max_pixels:
        raise RefusedError(f"is a TIFF of strips or tiles beyond {max_pixels:,} pixels. Save it again as PNG.")
    compression, samples = directory.value(_COMPRESSION, _UNCOMPRESSED), directory.value(_SAMPLES, 1)
    bits = directory.values(_BITS) or (1,)
    depth = bits[0] * samples if len(bits) == 1 else sum(bits[:samples])
    unpacked = block * depth // 8 * (2 if compression in (_LZMA, _ZSTD) else 1)  # these hold a window of the same size
    if compression != _UNCOMPRESSED and unpacked > _STRIP * max_pixels + _SLACK:
        raise RefusedError("is a TIFF whose strips or tiles take too much memory. Save it again as PNG.")
    if compression == _LZMA and len(directory.data) > _MAX_LZMA:
        raise RefusedError(f"is a TIFF of more than {_MAX_LZMA:,} bytes of LZMA. Save it again as PNG.")
    if compression == _OLD_JPEG:
        scanned = directory.data.count(_START_OF_SCAN) * directory.value(_WIDTH, 0) * height
    elif compression == _JPEG:
        scanned = block * _scans(
            directory, *((_TILE_OFFSETS, _TILE_BYTES) if tiled else (_STRIP_OFFSETS, _STRIP_BYTES))
        )
    else:
        scanned = 0
    if scanned > _FULL_SCANS * max_pixels + _SLACK:
        raise RefusedError("is a TIFF of more JPEG scans than it needs. Save it again as PNG.")


def _scans(directory: _Directory, offsets: int, sizes: int) -> int:
    """Return how many scans the JPEG streams of all strips or tiles have: libtiff follows up to 100 in each."""
    data = directory.data
    spans = list(zip(directory.values(offsets), directory.values(sizes), strict=False))
    if not spans or sum(size for _, size in spans) > 2 * len(data) or max(map(sum, spans)) > len(data):
        raise RefusedError("is a TIFF whose JPEG strips or tiles are not where it says. Save it again as PNG.")
    return sum(data.count(_START_OF_SCAN, start, start + size) for start, size in spans)
