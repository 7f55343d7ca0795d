"""Reduce a JPEG to its frame, tables and scans.

Source: ITU-T T.81, annex B. Only the part before the first scan is rewritten: Pillow parses it in Python. The scans,
and the tables between them, go to libjpeg as they are, once their number is known to be reasonable.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from visim_models.images.containers.orientation import exif_orientation, xmp_orientation
from visim_models.images.containers.reduced import Reduced, RefusedError

__all__ = ["reduce_jpeg"]

_MAX_SEGMENTS: Final = 10_000
_MAX_TABLES: Final = 2**18  # bytes before the first scan; encoders write about a thousand
_MAX_SCANS: Final = 32  # encoders write about ten
_FULL_SCANS: Final = 48  # of one component of the largest picture; each scan passes over all of it again
_BUFFER: Final = 10  # bytes a pixel where there are several scans: libjpeg then holds every coefficient
_SLACK: Final = 2**20  # so that a caller's small `max_pixels` does not refuse ordinary small files

_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffing, nor a restart, nor a fill byte
_SOI, _EOI, _SOS, _COM, _TEM = 0xD8, 0xD9, 0xDA, 0xFE, 0x01
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF  # APP0 and APP14 tell the decoder the colour space
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


class _Segment(NamedTuple):
    marker: int
    start: int  # of the marker
    end: int


def reduce_jpeg(data: bytes, max_pixels: int) -> Reduced:
    """Drop comments and application data from a JPEG, and all bytes after its end.

    Args:
        data: The file. Of several JPEGs in one file (MPO) the first is kept.
        max_pixels: Largest width x height that will be decoded; it scales the limits on scans and memory.

    Returns:
        The JPEG, and the orientation of its first EXIF segment, or else of its first XMP segment.

    Raises:
        RefusedError: There are more segments, tables or scans than an encoder writes, or the scans need more memory.
    """
    tables, stated = [b"\xff\xd8"], dict[bytes, bytes]()
    frame, first_scan, end = (0, 0, 0), len(data), len(data)
    scans: list[int] = []  # the number of components in each
    for segment in _segments(data):
        if segment.marker == _EOI:
            end = segment.end
        elif segment.marker == _SOS:
            first_scan = min(first_scan, segment.start)
            scans += data[segment.start + 4 : segment.start + 5]
        elif not scans:
            part = data[segment.start : segment.end]
            if segment.marker == _APP1:
                for kind in (_EXIF, _XMP):
                    if part.startswith(kind, 4):
                        stated.setdefault(kind, part[4 + len(kind) :])
            elif segment.marker in _FRAMES:
                frame = max(frame, _frame(part))
            if segment.marker in (_APP0, _APP14) or not (_APP0 <= segment.marker <= _APP15 or segment.marker == _COM):
                tables.append(part)
    if sum(map(len, tables)) > _MAX_TABLES:
        raise RefusedError("is a JPEG of more tables than any camera writes. Save it again as JPEG.")
    _check_scans(frame, scans, max_pixels)
    orientation = exif_orientation(stated.get(_EXIF, b"")) or xmp_orientation(stated.get(_XMP, b""))
    return Reduced(b"".join([*tables, memoryview(data)[first_scan:end]]), orientation)


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments of the first JPEG in `data`, to its end marker or to where it is cut off."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return
        marker, start = found[1][0], found.start()
        length = 0 if marker in (_TEM, _SOI, _EOI) else int.from_bytes(data[start + 2 : start + 4], "big")
        position = start + 2 + length
        yield _Segment(marker, start, position)
        if marker == _EOI:
            return
    raise RefusedError("is a JPEG of more segments than any camera writes. Save it again as JPEG.")


def _frame(part: bytes) -> tuple[int, int, int]:
    """Return pixels, components and 1 for a progressive frame, from a frame header."""
    height, width = int.from_bytes(part[5:7], "big"), int.from_bytes(part[7:9], "big")
    return width * height, part[9] if len(part) > 9 else 0, int(part[1] & 3 == 2)


def _check_scans(frame: tuple[int, int, int], scans: list[int], max_pixels: int) -> None:
    """Refuse scans that libjpeg would follow for seconds: it counts none, and passes over the picture for each."""
    pixels, components, progressive = frame
    if len(scans) > _MAX_SCANS or sum(scans) * pixels > _FULL_SCANS * max_pixels + _SLACK:
        raise RefusedError("is a JPEG of more scans than any camera writes. Save it again as JPEG.")
    if (progressive or len(scans) > 1) and pixels * (4 + 2 * components) > _BUFFER * max_pixels + _SLACK:
        raise RefusedError("is a progressive JPEG that needs too much memory. Save it again as baseline JPEG.")
