"""Read the one tag of the metadata that matters here, the orientation, without parsing the rest.

Sources: EXIF 2.32 (tag 274, a TIFF directory after "Exif\\0\\0") and Adobe's XMP specification (tiff:Orientation).
"""

import re
import struct
from typing import Final

__all__ = ["MAX_METADATA", "exif_orientation", "xmp_orientation"]

MAX_METADATA: Final = 65_536  # bytes of one block of metadata that are looked at; an APP1 segment cannot hold more

_ORIENTATION: Final = 274
_SHORT, _LONG = 3, 4
_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation that a block of EXIF states.

    Args:
        exif: The block, with or without "Exif\\0\\0" before it. Bytes beyond `MAX_METADATA` are not looked at.

    Returns:
        1 to 8; 1 where the tag has another value; None where the tag is missing or the block is damaged.
    """
    exif = exif[:MAX_METADATA].removeprefix(b"Exif\0\0")
    endian = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if endian is None:
        return None
    try:
        (start,) = struct.unpack_from(endian + "L", exif, 4)
        (entries,) = struct.unpack_from(endian + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(endian + "HHL", exif, entry)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(endian + ("L" if kind == _LONG else "H"), exif, entry + 8)
                return value if kind in (_SHORT, _LONG) and count == 1 and 1 <= value <= 8 else 1
    except struct.error:  # an offset that leads out of the block
        return None
    return None


def xmp_orientation(xmp: bytes) -> int | None:
    """Return the orientation, 1 to 8, that a packet of XMP states, or None. Bytes beyond `MAX_METADATA` are ignored."""
    found = _XMP.search(xmp[:MAX_METADATA])
    return int(found[1]) if found else None
