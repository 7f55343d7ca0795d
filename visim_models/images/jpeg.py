"""Read a JPEG whether or not its end mark is there, and notice when a part of its pixels is lost.

libjpeg fills what is lost with grey and says so in a warning that Pillow does not pass on. Here the same is read from
how a decoder takes the bytes: a whole scan needs all of its own bytes, and not more than those. Source: ITU-T T.81.
"""

import io
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from visim_models.images.kinds import PARTLY_LOST, RefusedError

__all__ = ["WatchedJpeg"]

_TAIL: Final = 64  # bytes: encoders and cameras write a few that no pixel needs
_FILL: Final = bytes(16)  # libjpeg looks a few bytes ahead; zeros are what it takes itself after the end
_EOI: Final = b"\xff\xd9"
_RESTART: Final = re.compile(rb"\xff([\xd0-\xd7])")
_INTERVAL: Final = b"\xff\xdd\0\4"
_SOS: Final = b"\xff\xda"
_BETWEEN_SCANS: Final = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_COEFFICIENTS: Final = 64
_BLOCK: Final = 2**17
_GAP: Final = bytes(1024)  # no scan of AC coefficients has so many zeros: runs of empty blocks are counted
_LOST: Final = (
    f"is a damaged JPEG that {PARTLY_LOST}: the download stopped, or a block of the disk is lost. "
    "Copy it again from where it came from."
)


class WatchedJpeg(io.BytesIO):
    """Serve a JPEG to one Pillow image, and watch how much of it the decoder takes.

    Args:
        data: The file. After the end mark, or where it is missing, anything may follow.

    Example:
        >>> file = WatchedJpeg(data)
        >>> image = JpegImageFile(file)
        >>> file.load(image)
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data
        self._pieces: list[bytes] | None = None
        self._span: tuple[int, int] | None = None  # of the only scan, where there is one

    def load(self, image: JpegImageFile) -> None:
        """Decode an image that was opened on this file.

        Raises:
            RefusedError: A part of its pixels is not there, or not where it belongs.
        """
        self._expect(image)
        try:
            image.load()
        except OSError as error:
            raise RefusedError(_LOST) from error
        if self._span is not None and len(self._pieces or ()) > 1:  # the decoder did not need the end of the scan
            start, end = self._span
            first = next(_markers(self._data, start), end)  # of a film, say, that happens to end like a JPEG
            if first >= end:
                raise RefusedError(_LOST)
            file = WatchedJpeg(self._data[:first])
            file.load(JpegImageFile(file))

    def _expect(self, image: JpegImageFile) -> None:
        """Cut the file into pieces for the decoder."""
        start, data = self.tell(), self._data  # Pillow stops before the bits of the first scan
        header = start - 8 - 2 * image.layers  # of a scan of all components
        if "progressive" in image.info or data[header : header + 2] != _SOS:
            self._pieces = [_EOI, data[: _end_of_scans(image, data, start)]]
            return
        end = len(data) - len(_EOI)
        if "mp" in image.info or not data.endswith(_EOI):  # a second picture, a film, or no end mark
            end = next(_markers(data, start), len(data))
        if data.startswith(_EOI, end):
            self._span = start, end
        _check_restarts(image, data, start, end)
        middle = max(end - _TAIL, start)
        self._pieces = [_FILL, data[middle:end], data[:middle]]

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; within `load`, the next piece of the file for the decoder."""
        if self._pieces is None:
            return super().read(size)
        return self._pieces.pop() if self._pieces else b""


def _check_restarts(image: JpegImageFile, data: bytes, start: int, end: int) -> None:
    """Check that the restart marks are all there and in order: libjpeg goes on at the next one after damage."""
    at = data.rfind(_INTERVAL, 0, start)
    interval = int.from_bytes(data[at + 4 : at + 6], "big") if at >= 0 else 0
    if not interval or _RESTART.search(data, start, end) is None:
        return
    horizontal, vertical = (max(layer[index] for layer in image.layer) for index in (1, 2))
    if image.layers == 1:
        vertical = horizontal = 1
    units = -(-image.width // (8 * horizontal)) * -(-image.height // (8 * vertical))
    marks = [mark[1][0] & 7 for mark in _RESTART.finditer(data, start, end)]
    if marks != [index & 7 for index in range(-(-units // interval) - 1)]:
        raise RefusedError(_LOST)


def _end_of_scans(image: JpegImageFile, data: bytes, start: int) -> int:
    """Return the index at which the last scan ends, after checking that the scans give every bit of every coefficient.

    Args:
        image: Not loaded yet.
        data: The file.
        start: Of the bits of the first scan.

    Raises:
        RefusedError: Some are missing, or a scan has a gap.
    """
    missing = {layer[0]: [True] * _COEFFICIENTS for layer in image.layer}
    at, end, markers = data.rfind(_SOS, 0, start), len(data), _markers(data, start)
    while at < len(data) and (data.startswith(_SOS, at) or data[at + 1] in _BETWEEN_SCANS):
        bits = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        after = next((marker for marker in markers if marker >= bits), len(data))
        if data.startswith(_SOS, at):
            count = data[at + 4] if at + 4 < after else 0
            low, high, bit = data[at + 5 + 2 * count : at + 8 + 2 * count].ljust(3, b"\0")
            if bits - at != 8 + 2 * count or high >= _COEFFICIENTS:
                break  # no scan, but bytes that follow where the end mark is missing
            for identifier in data[at + 5 : at + 5 + 2 * count : 2]:
                if identifier in missing:
                    missing[identifier][low : high + 1] = [bit & 15 > 0] * (high + 1 - low)
            if low > 0 and data.find(_GAP, bits, after) >= 0:
                raise RefusedError(_LOST)
            end = after
        at = after
    if any(any(bits) for bits in missing.values()):
        raise RefusedError(_LOST)
    return end


def _markers(data: bytes, start: int) -> Iterator[int]:
    """Yield the index of each marker that is neither a restart nor stuffing."""
    values = np.frombuffer(data, np.uint8)
    for first in range(start, len(data) - 1, _BLOCK):  # small enough for the processor's cache
        block = values[first : first + _BLOCK + 1]
        found = np.flatnonzero(block[:-1] == 0xFF)
        code = block[found + 1]
        yield from (found[(code - np.uint8(1) < 0xFE) & (code & 0xF8 != 0xD0)] + first).tolist()
